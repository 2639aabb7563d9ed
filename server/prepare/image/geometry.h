// SPDX-License-Identifier: Apache-2.0
//
// Geometry: which size an image is resized to, and which part of it becomes the input of the tower, as
// torchvision and open_clip decide it. Pure arithmetic.

#pragma once

#include <cstdint>

#include "server/model/model_spec.h"
#include "server/model/patch_grid.h"

namespace embedd {

struct Geometry {
  int64_t resized_width = 0;
  int64_t resized_height = 0;
  // What the tower gets of it: spec.width x spec.height, or all of it (kPatches).
  int window_width = 0;
  int window_height = 0;
  // Top left corner of the window in the resized image. Negative where the resized image is smaller than the
  // window (kLongest): what lies outside is filled.
  int64_t x = 0;
  int64_t y = 0;
};

// The patches that an image becomes where its shape is kept: as transformers finds them, at the largest scale
// up to 100 at which the whole patches that cover it are at most max_patches. width and height at least 1.
PatchGrid FitPatches(int width, int height, int patch, int max_patches);

// width and height at least 1. A side that rounds to 0 (kLongest, 3000x2 to 224) becomes 1; Pillow refuses
// those.
Geometry ComputeGeometry(int width, int height, const ImageSpec& spec);

}  // namespace embedd
