// SPDX-License-Identifier: Apache-2.0
//
// How far two sets of vectors are apart.

#pragma once

#include <cstddef>
#include <span>

namespace embedd::ctl {

struct Comparison {
  double min_cosine = 1;  // NaN in either set counts as -1
  double mean_cosine = 1;
  double max_delta = 0;  // largest |a - b| of two numbers
  size_t worst_row = 0;  // of min_cosine
};

// Both row-major [n, dimension], of the same size; dimension >= 1. The cosine with a zero vector is 0.
Comparison Compare(std::span<const float> a, std::span<const float> b, size_t dimension);

}  // namespace embedd::ctl
