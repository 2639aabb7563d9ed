// SPDX-License-Identifier: Apache-2.0

#include "server/engine/grid_positions.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace embedd {
namespace {

// What each of `count` places along an axis takes of `side` learned ones: [count, side].
std::vector<float> AxisWeights(int64_t count, int64_t side) {
  std::vector<float> weights(static_cast<size_t>(count * side));
  const double scale = static_cast<double>(side) / static_cast<double>(count), reach = std::max(scale, 1.0);
  for (int64_t i = 0; i < count; ++i) {
    float* const row = weights.data() + i * side;
    const double centre = (static_cast<double>(i) + 0.5) * scale - 0.5;
    double sum = 0;
    for (int64_t j = 0; j < side; ++j) {
      const double weight = std::max(0.0, 1 - std::fabs(static_cast<double>(j) - centre) / reach);
      row[j] = static_cast<float>(weight);
      sum += weight;
    }
    for (int64_t j = 0; j < side; ++j) row[j] = static_cast<float>(row[j] / sum);
  }
  return weights;
}

}  // namespace

at::Tensor GridPositionWeights(absl::Span<const PatchGrid> grids, int64_t tokens, int64_t side) {
  at::Tensor weights =
      at::zeros({static_cast<int64_t>(grids.size()), tokens, side * side}, at::dtype(at::kFloat));
  float* image = weights.mutable_data_ptr<float>();
  for (const PatchGrid& grid : grids) {
    const std::vector<float> down = AxisWeights(grid.rows, side), across = AxisWeights(grid.columns, side);
    float* to = image;
    for (int64_t row = 0; row < grid.rows; ++row) {
      for (int64_t column = 0; column < grid.columns; ++column) {
        for (int64_t y = 0; y < side; ++y) {
          const float share = down[static_cast<size_t>(row * side + y)];
          for (int64_t x = 0; x < side; ++x) *to++ = share * across[static_cast<size_t>(column * side + x)];
        }
      }
    }
    image += tokens * side * side;
  }
  return weights;
}

}  // namespace embedd
