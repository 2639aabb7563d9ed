// SPDX-License-Identifier: Apache-2.0
//
// An image spec that one byte of a fuzzer's input picks.

#pragma once

#include <cstdint>

#include "server/prepare/image/preprocess.h"

namespace embedd {

inline ImageSpec PickedSpec(uint8_t choice) {
  ImageSpec spec;
  spec.width = choice & 1 ? 32 : 48;
  spec.height = choice & 2 ? 32 : 40;
  spec.resize_mode = choice & 4   ? ResizeMode::kSquash
                     : choice & 8 ? ResizeMode::kLongest
                                  : ResizeMode::kShortest;
  spec.interpolation = choice & 16 ? Interpolation::kBilinear : Interpolation::kBicubic;
  if (choice & 128) {
    spec.resize_mode = ResizeMode::kPatches;
    spec.patch = choice & 1 ? 4 : 7;
    spec.max_patches = choice & 2 ? 30 : 1;
  }
  spec.crop_rounding = choice & 32 ? CropRounding::kFloor : CropRounding::kHalfEven;
  return spec;
}

}  // namespace embedd
