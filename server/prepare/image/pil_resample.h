// SPDX-License-Identifier: Apache-2.0
//
// PilResample: Pillow's Image.resize for RGB8, byte for byte, of a window of the result only. Called by
// Preprocess. Two passes with an 8-bit result between them; which comes first changes the bytes, see
// VerticalFirst.

#pragma once

#include <cstdint>

#include "server/model/model_spec.h"
#include "server/prepare/image/pil_kernels.h"

namespace embedd {

// What to resize to, and the part of the result that is wanted, in pixels of the result.
struct PilTarget {
  int64_t width = 0;  // of the whole result, at least 1
  int64_t height = 0;
  int64_t x = 0;  // of the window, which lies inside the result
  int64_t y = 0;
  int window_width = 0;  // at least 1
  int window_height = 0;
  Interpolation interpolation = Interpolation::kBicubic;
  double source_width = 0;  // pixels of the source that the picture covers, see PilAxis; 0 = all
  double source_height = 0;
};

// Where the window goes: three planes of window_height rows, `stride` bytes from row to row.
struct PilPlanes {
  uint8_t* r = nullptr;
  uint8_t* g = nullptr;
  uint8_t* b = nullptr;
  int64_t stride = 0;
};

// True when Pillow 13 runs the vertical pass first. Its rule was found by resizing random images with both
// orders: the height shrinks, and by more than twice as many pixels as the width does. Pillow up to 12.1
// always began with the horizontal pass.
bool VerticalFirst(int width, int height, int64_t out_width, int64_t out_height);

// Memory beside the output is bounded: weights for a bounded number of taps at a time, and as many filtered
// rows as one output row needs, twice.
void PilResample(const uint8_t* rgb, int width, int height, const PilTarget& target, const PilPlanes& out,
                 const PilKernels& kernels = BestPilKernels());

}  // namespace embedd
