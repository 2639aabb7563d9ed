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

PilAxis Columns(int width, const PilTarget& target, int x, int count) {
  return PilAxis(width, target.width, target.x + x, count, target.interpolation, target.source_width);
}

PilAxis Lines(int height, const PilTarget& target, int y, int count) {
  return PilAxis(height, target.height, target.y + y, count, target.interpolation, target.source_height);
}

int ColumnsAtOnce(int width, const PilTarget& target) {
  return OutputsAtOnce(width, target.width, target.interpolation, target.window_width);
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

bool PilRows::Possible(int width, int height, const PilTarget& target) {
  return !VerticalFirst(width, height, target.width, target.height) &&
         ColumnsAtOnce(width, target) >= target.window_width;
}

PilRows::PilRows(int width, int height, const PilTarget& target, int x, int columns, const PilPlanes& out,
                 const PilKernels& kernels)
    : kernels_(kernels),
      out_{out.r + x, out.g + x, out.b + x, out.stride},
      source_stride_(int64_t{3} * width),
      columns_(Columns(width, target, x, columns)),
      lines_(Lines(height, target, 0, target.window_height)) {
  const int64_t row_bytes = int64_t{3} * columns;
  stride_ = row_bytes + PilKernels::kWriteSlack;
  int max_taps = 0;
  for (int i = 0; i < lines_.count(); ++i) max_taps = std::max(max_taps, lines_.taps(i));
  capacity_ = 2 * int64_t{max_taps} + kRows;
  filtered_.resize(capacity_ * stride_);
  line_.resize(row_bytes);
  unused_.resize(stride_);
}

// `slot` names one of kRows rows in use at the same time.
const uint8_t* PilRows::Source(const PilInput& rows, int64_t row, int slot) {
  const int64_t offset = 3 * columns_.origin();
  const int64_t begin = (lines_.origin() + row - rows.y) * source_stride_ + offset;
  const int64_t reach = 3 * columns_.reach() + PilKernels::kReadSlack;
  if (begin + reach <= rows.bytes) return rows.rgb + begin;
  if (spare_.empty()) spare_.resize(kRows * reach);
  uint8_t* copy = spare_.data() + slot * reach;
  std::memcpy(copy, rows.rgb + begin, std::min(reach, source_stride_ - offset));
  return copy;
}

int64_t PilRows::FilterSome(const PilInput& rows, int64_t end) {
  if (ready_ + kRows > first_ + capacity_) {
    const int64_t keep_from = std::min(lines_.start(next_), ready_);
    std::memmove(filtered_.data(), filtered_.data() + (keep_from - first_) * stride_,
                 (ready_ - keep_from) * stride_);
    first_ = keep_from;
  }
  const uint8_t* in[kRows];
  uint8_t* to[kRows];
  for (int r = 0; r < kRows; ++r) {
    in[r] = Source(rows, std::min(ready_ + r, end - 1), r);
    to[r] = ready_ + r < end ? filtered_.data() + (ready_ + r - first_) * stride_ : unused_.data();
  }
  kernels_.horizontal(in, columns_, to);
  return std::min(ready_ + kRows, end);
}

void PilRows::Add(const PilInput& rows) {
  const int64_t end = std::min(rows.y + rows.count, lines_.end()) - lines_.origin();
  while (ready_ < end) {
    ready_ = FilterSome(rows, end);
    for (; next_ < lines_.count() && lines_.start(next_) + lines_.taps(next_) <= ready_; ++next_) {
      kernels_.vertical(filtered_.data() + (lines_.start(next_) - first_) * stride_, stride_, lines_, next_,
                        static_cast<int64_t>(line_.size()), line_.data());
      const int64_t at = next_ * out_.stride;
      kernels_.planar(line_.data(), columns_.count(), out_.r + at, out_.g + at, out_.b + at);
    }
  }
}

void PilResample(const uint8_t* rgb, int width, int height, const PilTarget& target, const PilPlanes& out,
                 const PilKernels& kernels) {
  // Each order tiles the window along its first axis, the only one that can be long, so no work is done
  // twice.
  if (VerticalFirst(width, height, target.width, target.height)) {
    const PilAxis columns = Columns(width, target, 0, target.window_width);
    const int step = OutputsAtOnce(height, target.height, target.interpolation, target.window_height);
    for (int y = 0; y < target.window_height; y += step) {
      const PilAxis lines = Lines(height, target, y, std::min(step, target.window_height - y));
      VerticalThenHorizontal(rgb, width, columns, lines, y, out, kernels);
    }
    return;
  }
  const PilInput all = {rgb, int64_t{3} * width * height, 0, height};
  const int step = ColumnsAtOnce(width, target);
  for (int x = 0; x < target.window_width; x += step) {
    PilRows(width, height, target, x, std::min(step, target.window_width - x), out, kernels).Add(all);
  }
}

}  // namespace embedd
