// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/geometry.h"

#include <algorithm>
#include <cmath>

namespace embedd {
namespace {

// Python's round of a quotient: half to even, which is what the default rounding mode does.
int64_t RoundHalfEven(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

// The long side of torchvision's Resize(int) is truncated, not rounded.
int64_t LongSide(int target, int longer, int shorter) {
  return static_cast<int64_t>(static_cast<double>(int64_t{target} * longer) / shorter);
}

void KeepRatio(int width, int height, double ratio, Geometry* g) {
  g->resized_width = std::max<int64_t>(1, RoundHalfEven(width / ratio));
  g->resized_height = std::max<int64_t>(1, RoundHalfEven(height / ratio));
}

int64_t Offset(int64_t size, int window, CropRounding rounding) {
  const int64_t extra = size - window;
  if (extra < 0) return -(-extra / 2);  // padding: the odd pixel goes right and below
  const int64_t half = extra / 2;
  const bool up = rounding == CropRounding::kHalfEven && extra % 2 == 1 && half % 2 == 1;
  return half + (up ? 1 : 0);
}

}  // namespace

// transformers' get_image_size_for_max_num_patches: each operation and its order decide where a side lies at
// the edge of a patch.
PatchGrid FitPatches(int width, int height, int patch, int max_patches) {
  constexpr double kNearEnough = 1e-5;
  const auto along = [patch](int size, double scale) {
    return std::max(1.0, std::ceil(size * scale / patch));
  };
  double low = kNearEnough / 10, high = 100;
  while (high - low >= kNearEnough) {
    const double scale = (low + high) / 2;
    (along(height, scale) * along(width, scale) <= max_patches ? low : high) = scale;
  }
  // At a scale of 1e-6 a side of millions of pixels may still be too many patches; the library then makes
  // more than a batch of it can hold.
  PatchGrid grid;
  grid.rows = static_cast<int>(std::min<double>(along(height, low), max_patches));
  const int most_columns = max_patches / grid.rows;
  grid.columns = static_cast<int>(std::min<double>(along(width, low), most_columns));
  return grid;
}

Geometry ComputeGeometry(int width, int height, const ImageSpec& spec) {
  Geometry g;
  g.window_width = spec.width;
  g.window_height = spec.height;
  const double ratio_x = static_cast<double>(width) / spec.width;
  const double ratio_y = static_cast<double>(height) / spec.height;
  switch (spec.resize_mode) {
    case ResizeMode::kSquash:
      g.resized_width = spec.width;
      g.resized_height = spec.height;
      break;
    case ResizeMode::kLongest:
      KeepRatio(width, height, std::max(ratio_x, ratio_y), &g);
      break;
    case ResizeMode::kShortest: {
      if (spec.width != spec.height) {
        KeepRatio(width, height, std::min(ratio_x, ratio_y), &g);
        break;
      }
      const int shortest = spec.resize > 0 ? spec.resize : spec.width;
      if (width <= height) {
        g.resized_width = shortest;
        g.resized_height = LongSide(shortest, height, width);
      } else {
        g.resized_width = LongSide(shortest, width, height);
        g.resized_height = shortest;
      }
      break;
    }
    case ResizeMode::kPatches: {
      const PatchGrid grid = FitPatches(width, height, spec.patch, spec.max_patches);
      g.resized_width = g.window_width = grid.columns * spec.patch;
      g.resized_height = g.window_height = grid.rows * spec.patch;
      break;
    }
  }
  g.x = Offset(g.resized_width, g.window_width, spec.crop_rounding);
  g.y = Offset(g.resized_height, g.window_height, spec.crop_rounding);
  return g;
}

}  // namespace embedd
