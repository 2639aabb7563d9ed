// SPDX-License-Identifier: Apache-2.0
//
// FloatResample: the resize of image processors that exist for tensors only (DINOv3's): bilinear with
// antialias, in floats, as torch computes it, without rounding to bytes. Called by Preprocess.

#pragma once

#include <cstdint>

#include "server/model/model_spec.h"

namespace embedd {

// Resizes to both sides of `spec`. Writes uint32 [3, spec.height, spec.width], where 2^32 - 1 stands for 255,
// to `out`, which need not be aligned. Memory beside the output: a row, whatever the picture's size.
void FloatResample(const uint8_t* rgb, int width, int height, const ImageSpec& spec, uint8_t* out);

}  // namespace embedd
