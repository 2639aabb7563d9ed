// SPDX-License-Identifier: Apache-2.0
//
// Preprocess: RGB pixels of any size in, the uint8 input of the image tower out, byte for byte what Pillow
// and open_clip's transform compute (before ToTensor and Normalize, which the executor does). Pure functions;
// thread-safe.

#pragma once

#include <cstdint>

#include "server/model/model_spec.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {

// Writes uint8 [3, spec.height, spec.width], planar R, G, B, to `out`; uint32 where spec.resize_kind is
// kFloat.
//   rgb  RGB8 [height, width, 3], rows top to bottom, no padding; width and height at least 1
// Cost and memory are bounded by the source and the target: only the rows and columns that survive the crop
// are computed, so a 3000x10 image makes no 67200x224 intermediate.
void Preprocess(const uint8_t* rgb, int width, int height, const ImageSpec& spec, uint8_t* out);

// Pixels of a picture, from its top left corner.
struct PixelRegion {
  int x = 0, y = 0, width = 0, height = 0;
};

// The pixels of a picture of width x height that Preprocess reads for `spec`; it may name more, never fewer.
// A decoder need not make the others.
PixelRegion PixelsNeeded(int width, int height, const ImageSpec& spec);

// The same for a decoded image. One whose resolution was left out is cut out as the whole one would be.
void Preprocess(const RgbImage& image, const ImageSpec& spec, uint8_t* out);

}  // namespace embedd
