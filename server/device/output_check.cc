// SPDX-License-Identifier: Apache-2.0

#include "server/device/output_check.h"

#include <cmath>

#include "server/support/sum_of_squares.h"

namespace embedd {

double RowNorm(absl::Span<const float> row) {
  const double sum = SumOfSquares(row);
  return std::isfinite(sum) ? std::sqrt(sum) : -1.0;
}

bool RowIsGood(absl::Span<const float> row) {
  const double norm = RowNorm(row);
  return norm > 1e-12 && norm < 1e18;
}

}  // namespace embedd
