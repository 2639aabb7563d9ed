// SPDX-License-Identifier: Apache-2.0
//
// The cosine of two rows, for the checks at the start.

#pragma once

#include <cmath>
#include <cstddef>

namespace embedd {

// NaN when a number is, or when a row is all zero.
inline double Cosine(const float* a, const float* b, size_t n) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < n; ++i) {
    dot += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return dot / std::sqrt(aa * bb);
}

}  // namespace embedd
