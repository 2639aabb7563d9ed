// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace embedd::ctl {
namespace {

double Cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  if (aa == 0 || bb == 0) return 0;
  const double cosine = dot / std::sqrt(aa * bb);
  return std::isfinite(cosine) ? cosine : -1;
}

}  // namespace

Comparison Compare(std::span<const float> a, std::span<const float> b, size_t dimension) {
  Comparison result;
  const size_t rows = a.size() / dimension;
  double sum = 0;
  for (size_t i = 0; i < rows; ++i) {
    const double cosine = Cosine(a.subspan(i * dimension, dimension), b.subspan(i * dimension, dimension));
    sum += cosine;
    if (i == 0 || cosine < result.min_cosine) {
      result.min_cosine = cosine;
      result.worst_row = i;
    }
  }
  if (rows > 0) result.mean_cosine = sum / static_cast<double>(rows);
  for (size_t i = 0; i < a.size(); ++i) {
    const double delta = std::fabs(double{a[i]} - b[i]);
    result.max_delta =
        std::isnan(delta) ? std::numeric_limits<double>::infinity() : std::max(result.max_delta, delta);
  }
  return result;
}

}  // namespace embedd::ctl
