// SPDX-License-Identifier: Apache-2.0

#include "server/executor/output_check.h"

#include <cmath>

namespace embedd {

double RowNorm(absl::Span<const float> row) {
  double sum = 0;
  for (const float v : row) sum += static_cast<double>(v) * v;
  return std::isfinite(sum) ? std::sqrt(sum) : -1.0;
}

bool RowIsGood(absl::Span<const float> row) {
  const double norm = RowNorm(row);
  return norm > 1e-12 && norm < 1e18;
}

}  // namespace embedd
