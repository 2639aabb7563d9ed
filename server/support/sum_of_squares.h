// SPDX-License-Identifier: Apache-2.0
//
// SumOfSquares: of a row of floats, in double. Four sums side by side, because one alone waits for each
// addition to end before it begins the next. Their order is fixed: the same row gives the same sum.

#pragma once

#include <cstddef>

#include "absl/types/span.h"

namespace embedd {

inline double SumOfSquares(absl::Span<const float> row) {
  double sums[4] = {0, 0, 0, 0};
  size_t i = 0;
  for (; i + 4 <= row.size(); i += 4) {
    for (size_t lane = 0; lane < 4; ++lane) sums[lane] += static_cast<double>(row[i + lane]) * row[i + lane];
  }
  for (; i < row.size(); ++i) sums[0] += static_cast<double>(row[i]) * row[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace embedd
