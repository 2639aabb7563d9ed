// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/compare.h"

#include <cmath>
#include <vector>

#include "tests/support/catch.h"

namespace embedd::ctl {
namespace {

TEST_CASE("Equal vectors agree and scaled ones differ only in numbers") {
  const std::vector<float> a{1, 0, 0.6F, 0.8F};
  const std::vector<float> b{2, 0, 1.2F, 1.6F};
  CHECK(Compare(a, a, 2).min_cosine == Approx(1));
  CHECK(Compare(a, a, 2).max_delta == 0);
  CHECK(Compare(a, b, 2).min_cosine == Approx(1));
  CHECK(Compare(a, b, 2).max_delta == Approx(1));
}

TEST_CASE("The worst pair is named") {
  const std::vector<float> a{1, 0, 1, 0, 1, 0};
  const std::vector<float> b{1, 0, 0, 1, 1, 0};
  const auto c = Compare(a, b, 2);
  CHECK(c.worst_row == 1);
  CHECK(c.min_cosine == Approx(0).margin(1e-12));
  CHECK(c.mean_cosine == Approx(2.0 / 3));
}

TEST_CASE("Not-a-number and zero vectors never look like agreement") {
  const std::vector<float> one{1, 0};
  const std::vector<float> zero{0, 0};
  const std::vector<float> nan{NAN, 0};
  CHECK(Compare(one, zero, 2).min_cosine == 0);
  CHECK(Compare(one, nan, 2).min_cosine == -1);
  CHECK(std::isinf(Compare(one, nan, 2).max_delta));
}

}  // namespace
}  // namespace embedd::ctl
