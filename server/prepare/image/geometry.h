// SPDX-License-Identifier: Apache-2.0
//
// Geometry: which size an image is resized to, and which part of it becomes the input of the tower, as
// torchvision and open_clip decide it. Pure arithmetic.

#pragma once

#include <cstdint>

#include "server/model/model_spec.h"

namespace embedd {

struct Geometry {
  int64_t resized_width = 0;
  int64_t resized_height = 0;
  // Top left corner of the spec.width x spec.height window in the resized image. Negative where the resized
  // image is smaller than the window (kLongest): what lies outside is filled.
  int64_t x = 0;
  int64_t y = 0;
};

// width and height at least 1. A side that rounds to 0 (kLongest, 3000x2 to 224) becomes 1; Pillow refuses
// those.
Geometry ComputeGeometry(int width, int height, const ImageSpec& spec);

}  // namespace embedd
