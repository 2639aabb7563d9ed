// SPDX-License-Identifier: Apache-2.0
//
// PilResample: Pillow's Image.resize for RGB8, byte for byte, of a window of the result only. Called by
// Preprocess. Two passes with an 8-bit result between them; which comes first changes the bytes, see
// VerticalFirst. Where the horizontal pass does, the rows of the picture may come one after the other
// (PilRows) and need not stay.

#pragma once

#include <cstdint>
#include <vector>

#include "server/model/model_spec.h"
#include "server/prepare/image/pil_axis.h"
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

// Rows of a picture, from row `y` on, each next to the other.
struct PilInput {
  const uint8_t* rgb = nullptr;
  int64_t bytes = 0;  // that may be read; the kernels take whole groups of taps, so a few behind a row may be
  int64_t y = 0;
  int64_t count = 0;
};

// The horizontal pass over the rows of a picture as they come, and the vertical one over what it leaves of
// the last few: they slide through a buffer of twice the rows that one output row needs.
class PilRows {
 public:
  // True where the horizontal pass comes first, and the weights of all columns are few enough to be kept.
  static bool Possible(int width, int height, const PilTarget& target);
  // Columns [x, x + columns) of the window; all of them where Possible.
  PilRows(int width, int height, const PilTarget& target, int x, int columns, const PilPlanes& out,
          const PilKernels& kernels = BestPilKernels());

  // Rows come in order. Those above and below what the window needs may be left out, or come all the same.
  void Add(const PilInput& rows);

 private:
  // Filters rows up to `end`, counted from the first that is needed, PilKernels::kRows at a time at most.
  int64_t FilterSome(const PilInput& rows, int64_t end);
  const uint8_t* Source(const PilInput& rows, int64_t row, int slot);

  const PilKernels& kernels_;
  const PilPlanes out_;
  const int64_t source_stride_;
  const PilAxis columns_, lines_;
  int64_t stride_ = 0;  // of the filtered rows
  int64_t capacity_ = 0;
  std::vector<uint8_t> filtered_, line_, unused_, spare_;
  int64_t first_ = 0;  // row at the top of the buffer
  int64_t ready_ = 0;  // rows before this one are filtered
  int next_ = 0;       // output row
};

// Memory beside the output is bounded: weights for a bounded number of taps at a time, and as many filtered
// rows as one output row needs, twice.
void PilResample(const uint8_t* rgb, int width, int height, const PilTarget& target, const PilPlanes& out,
                 const PilKernels& kernels = BestPilKernels());

}  // namespace embedd
