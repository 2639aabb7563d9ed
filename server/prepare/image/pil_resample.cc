// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/pil_resample.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace embedd {
namespace {

constexpr int kRows = PilKernels::kRows;
// Weights of this many taps are made at once (8 bytes each), so that an image of one row and millions of
// columns costs no more memory than itself.
constexpr int64_t kTapBudget = int64_t{1} << 19;

int OutputsAtOnce(int64_t in, int64_t out, Interpolation interpolation, int wanted) {
  const int64_t taps = PilAxis::MaxTaps(in, out, interpolation) + kPilGroup;
  return static_cast<int>(std::clamp<int64_t>(kTapBudget / taps, 1, wanted));
}

// Four row buffers that the horizontal kernel writes.
class RowBlock {
 public:
  explicit RowBlock(int64_t bytes) : bytes_(bytes + PilKernels::kWriteSlack), data_(kRows * bytes_) {
    for (int i = 0; i < kRows; ++i) rows_[i] = data_.data() + i * bytes_;
  }
  uint8_t* const* rows() { return rows_; }

 private:
  int64_t bytes_;
  std::vector<uint8_t> data_;
  uint8_t* rows_[kRows];
};

// Hands out source rows that the horizontal kernel may read past their end: it takes whole groups of taps.
class SourceRows {
 public:
  SourceRows(const uint8_t* rgb, int width, int height, const PilAxis& axis)
      : rgb_(rgb),
        stride_(int64_t{3} * width),
        offset_(3 * axis.origin()),
        size_(stride_ * height),
        reach_(3 * axis.reach() + PilKernels::kReadSlack) {}

  // `slot` names one of kRows rows in use at the same time.
  const uint8_t* Row(int64_t y, int slot) {
    const int64_t begin = y * stride_ + offset_;
    if (begin + reach_ <= size_) return rgb_ + begin;
    if (spare_.empty()) spare_.resize(kRows * reach_);
    uint8_t* copy = spare_.data() + slot * reach_;
    std::memcpy(copy, rgb_ + begin, std::min(reach_, stride_ - offset_));
    return copy;
  }

 private:
  const uint8_t* rgb_;
  int64_t stride_;
  int64_t offset_;
  int64_t size_;
  int64_t reach_;
  std::vector<uint8_t> spare_;
};

// Columns [x, x + columns.count()) of the window, horizontal pass first. Filtered rows live in a buffer that
// slides down the image: it holds the rows of one output row, and the vertical kernel finds them one stride
// apart.
void HorizontalFirst(const uint8_t* rgb, int width, int height, const PilAxis& columns, const PilAxis& lines,
                     int x, const PilPlanes& out, const PilKernels& kernels) {
  const int64_t row_bytes = int64_t{3} * columns.count();
  const int64_t stride = row_bytes + PilKernels::kWriteSlack;
  int max_taps = 0;
  for (int i = 0; i < lines.count(); ++i) max_taps = std::max(max_taps, lines.taps(i));
  const int64_t capacity = 2 * int64_t{max_taps} + kRows;
  std::vector<uint8_t> filtered(capacity * stride);
  std::vector<uint8_t> line(row_bytes);
  RowBlock unused(row_bytes);
  SourceRows source(rgb, width, height, columns);

  int64_t first = 0;  // source row, from lines.origin(), at the top of the buffer
  int64_t ready = 0;  // rows before this one are filtered
  const int64_t needed = lines.end() - lines.origin();
  for (int i = 0; i < lines.count(); ++i) {
    while (ready < lines.start(i) + lines.taps(i)) {
      if (ready + kRows > first + capacity) {
        const int64_t keep_from = std::min(lines.start(i), ready);
        std::memmove(filtered.data(), filtered.data() + (keep_from - first) * stride,
                     (ready - keep_from) * stride);
        first = keep_from;
      }
      const uint8_t* in[kRows];
      uint8_t* to[kRows];
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = std::min(ready + r, needed - 1);
        in[r] = source.Row(lines.origin() + row, r);
        to[r] = ready + r < needed ? filtered.data() + (ready + r - first) * stride : unused.rows()[r];
      }
      kernels.horizontal(in, columns, to);
      ready = std::min(ready + kRows, needed);
    }
    kernels.vertical(filtered.data() + (lines.start(i) - first) * stride, stride, lines, i, row_bytes,
                     line.data());
    const int64_t at = i * out.stride + x;
    kernels.planar(line.data(), columns.count(), out.r + at, out.g + at, out.b + at);
  }
}

// Rows [y, y + lines.count()) of the window, vertical pass first, over the columns that the horizontal pass
// reads.
void VerticalThenHorizontal(const uint8_t* rgb, int width, const PilAxis& columns, const PilAxis& lines,
                            int y, const PilPlanes& out, const PilKernels& kernels) {
  const int64_t bytes = 3 * (columns.end() - columns.origin());
  const int64_t source_stride = int64_t{3} * width;
  RowBlock filtered(3 * columns.reach() + PilKernels::kReadSlack);
  RowBlock result(int64_t{3} * columns.count());
  for (int i = 0; i < lines.count(); i += kRows) {
    const int rows = std::min(kRows, lines.count() - i);
    for (int r = 0; r < rows; ++r) {
      const uint8_t* top = rgb + (lines.origin() + lines.start(i + r)) * source_stride + 3 * columns.origin();
      kernels.vertical(top, source_stride, lines, i + r, bytes, filtered.rows()[r]);
    }
    kernels.horizontal(filtered.rows(), columns, result.rows());
    for (int r = 0; r < rows; ++r) {
      const int64_t at = (y + i + r) * out.stride;
      kernels.planar(result.rows()[r], columns.count(), out.r + at, out.g + at, out.b + at);
    }
  }
}

}  // namespace

bool VerticalFirst(int width, int height, int64_t out_width, int64_t out_height) {
  return height > out_height && height - out_height > 2 * (width - out_width);
}

void PilResample(const uint8_t* rgb, int width, int height, const PilTarget& target, const PilPlanes& out,
                 const PilKernels& kernels) {
  const auto columns_at = [&](int x, int count) {
    return PilAxis(width, target.width, target.x + x, count, target.interpolation, target.source_width);
  };
  const auto lines_at = [&](int y, int count) {
    return PilAxis(height, target.height, target.y + y, count, target.interpolation, target.source_height);
  };
  // Each order tiles the window along its first axis, the only one that can be long, so no work is done
  // twice.
  if (VerticalFirst(width, height, target.width, target.height)) {
    const PilAxis columns = columns_at(0, target.window_width);
    const int step = OutputsAtOnce(height, target.height, target.interpolation, target.window_height);
    for (int y = 0; y < target.window_height; y += step) {
      const PilAxis lines = lines_at(y, std::min(step, target.window_height - y));
      VerticalThenHorizontal(rgb, width, columns, lines, y, out, kernels);
    }
    return;
  }
  const PilAxis lines = lines_at(0, target.window_height);
  const int step = OutputsAtOnce(width, target.width, target.interpolation, target.window_width);
  for (int x = 0; x < target.window_width; x += step) {
    const PilAxis columns = columns_at(x, std::min(step, target.window_width - x));
    HorizontalFirst(rgb, width, height, columns, lines, x, out, kernels);
  }
}

}  // namespace embedd
