// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/load.h"

#include "tests/support/catch.h"

namespace embedd::ctl {
namespace {

TEST_CASE("A percentile is one of the values, by the nearest rank") {
  const std::vector<double> ten{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  CHECK(Percentile(ten, 0.5) == 5);
  CHECK(Percentile(ten, 0.9) == 9);
  CHECK(Percentile(ten, 0.99) == 10);
  CHECK(Percentile(ten, 0) == 1);
  CHECK(Percentile(ten, 1) == 10);
  CHECK(Percentile(std::vector<double>{7}, 0.99) == 7);
  CHECK(Percentile({}, 0.5) == 0);
}

}  // namespace
}  // namespace embedd::ctl
