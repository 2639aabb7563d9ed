// SPDX-License-Identifier: Apache-2.0

#include "server/device/output_check.h"

#include <limits>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The norm of a row is its Euclidean length") {
  CHECK(RowNorm(std::vector<float>{3, -4}) == 5.0);
  CHECK(RowNorm(std::vector<float>{0, 0}) == 0.0);
  CHECK(RowNorm(std::vector<float>{3e30f, 4e30f}) == Approx(5e30));  // no overflow of float
}

TEST_CASE("A row with a number that is not finite has no norm, wherever it stands") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (size_t at = 0; at < 9; ++at) {
      std::vector<float> row(9, 1.0f);
      row[at] = bad;
      CHECK(RowNorm(row) < 0);
      CHECK_FALSE(RowIsGood(row));
    }
  }
}

TEST_CASE("A good row can become a unit vector in float") {
  CHECK(RowIsGood(std::vector<float>{1e-6f, 0}));
  CHECK(RowIsGood(std::vector<float>{1e17f, 0}));
  CHECK_FALSE(RowIsGood(std::vector<float>{0, 0, 0}));
  CHECK_FALSE(RowIsGood(std::vector<float>{1e-20f}));
  CHECK_FALSE(RowIsGood(std::vector<float>{1e20f}));
  CHECK_FALSE(RowIsGood(std::vector<float>{}));
}

}  // namespace
}  // namespace embedd
