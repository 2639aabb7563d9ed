// SPDX-License-Identifier: Apache-2.0
//
// RowTarget: where a decoder puts the rows of a picture, RGB8, from the top down: into memory for all of
// them, or for a few at a time, which go on to Preprocess while they are in the processor's cache. Made by
// FileDecoder, used by the decoders that make rows in order.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "server/prepare/image/preprocess.h"

namespace embedd {

class RowTarget {
 public:
  // Room gives as many, if not all: two calls of the resampler's kernel, and few enough for the second-level
  // cache at any width.
  static constexpr int64_t kFew = 2 * PilKernels::kRows;

  // All rows of a picture `width` pixels wide, which stay at `rgb`.
  RowTarget(uint8_t* rgb, int64_t width) : rgb_(rgb), stride_(3 * width) {}
  // A few at a time, which `next` takes.
  RowTarget(RowPreprocessor* next, int64_t width)
      : stride_(3 * width),
        few_(static_cast<size_t>(kFew * stride_ + RowPreprocessor::kReadSlack)),
        next_(next) {}
  RowTarget(const RowTarget&) = delete;
  RowTarget& operator=(const RowTarget&) = delete;

  // Bytes from row to row.
  int64_t stride() const { return stride_; }
  // Room for row `y` and those after it, `*count` at most, which may become fewer. Good until Done.
  uint8_t* Room(int64_t y, int64_t* count) {
    if (next_ == nullptr) return rgb_ + y * stride_;
    *count = std::min(*count, kFew);
    return few_.data();
  }
  // The rows of the last Room are written.
  void Done(int64_t y, int64_t count) {
    if (next_ != nullptr) next_->Add(few_.data(), y, count);
  }

 private:
  uint8_t* const rgb_ = nullptr;  // of row 0; null where rows go on
  const int64_t stride_;
  std::vector<uint8_t> few_;
  RowPreprocessor* const next_ = nullptr;
};

}  // namespace embedd
