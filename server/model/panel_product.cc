// SPDX-License-Identifier: Apache-2.0

#include "server/model/panel_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>

#include "server/model/parallel_for.h"

namespace embedd {
namespace {

// 96 rows by 768 inputs of x are 288 KiB and a panel 48 or 96 KiB: both stay in a second-level cache of
// 512 KiB. Rounded down to whole tiles.
constexpr int64_t kRows = 96;
constexpr int64_t kDepth = 768;
// Threads take pieces of a product until none is left, since the processors of a shared machine are not
// equally fast: so many for each thread, of at least so many multiply-adds (some 80 microseconds).
constexpr int64_t kPieces = 12;
constexpr int64_t kPieceWork = 1 << 22;

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

bool PanelProduct::Available() { return Avx2PanelKernel() != nullptr; }

const PanelKernel* PanelProduct::KernelFor(const at::Tensor& weight) {
  if (!weight.device().is_cpu() || weight.scalar_type() != at::kFloat) return nullptr;
  return PanelKernelFor(weight.size(0));
}

PanelProduct::PanelProduct(const at::Tensor& weight, const PanelKernel& kernel)
    : kernel_(kernel), out_(weight.size(0)), in_(weight.size(1)) {
  panels_ = at::empty({out_ * in_}, weight.options());
  for (int64_t first = 0; first < in_; first += kDepth) {
    const int64_t depth = std::min(kDepth, in_ - first);
    const at::Tensor block = weight.narrow(1, first, depth)
                                 .reshape({out_ / kernel.columns, kernel.columns, depth})
                                 .transpose(1, 2);
    at::Tensor place = panels_.narrow(0, first * out_, depth * out_);
    place.copy_(block.reshape({-1}));
  }
}

at::Tensor PanelProduct::Apply(const at::Tensor& x, const at::Tensor& bias) const {
  auto sizes = x.sizes().vec();
  sizes.back() = out_;
  at::Tensor y = at::empty(sizes, x.options());
  Run(x, bias, /*add=*/false, y);
  return y;
}

void PanelProduct::AddTo(const at::Tensor& sum, const at::Tensor& x, const at::Tensor& bias) const {
  Run(x, bias, /*add=*/true, sum);
}

void PanelProduct::Run(const at::Tensor& x_any, const at::Tensor& bias_any, bool add,
                       const at::Tensor& out) const {
  TORCH_CHECK(x_any.size(-1) == in_ && out.size(-1) == out_ && out.is_contiguous());
  const at::Tensor x = x_any.contiguous();
  const float* const bias = bias_any.defined() ? bias_any.const_data_ptr<float>() : nullptr;
  const float* const a = x.const_data_ptr<float>();
  float* const c = out.mutable_data_ptr<float>();
  const int64_t rows = x.numel() / in_, chunks = DivideUp(rows, kRows / kernel_.rows * kernel_.rows),
                columns = kernel_.columns;
  const int64_t panels = out_ / columns, threads = at::get_num_threads();
  const int64_t piece =
      std::max(DivideUp(panels, kPieces * threads), DivideUp(kPieceWork, rows * in_ * columns));
  std::atomic<int64_t> untaken = 0;  // the first panel that no thread has taken

  const auto depth_at = [&](int64_t first) { return std::min(kDepth, in_ - first); };
  const auto panel_at = [&, b = panels_.const_data_ptr<float>()](int64_t first, int64_t p) {
    return b + first * out_ + p * depth_at(first) * columns;
  };
  // The rows of a chunk by a panel of the inputs from `first` on; `next` is the panel that comes after it.
  const auto multiply = [&](int64_t chunk, int64_t first, int64_t p, const float* next) {
    const int64_t row = chunk * rows / chunks, count = (chunk + 1) * rows / chunks - row;
    const int64_t tiles = DivideUp(count, kernel_.rows), depth = depth_at(first);
    const int64_t lines = kGroup * columns / kLine, tile_lines = DivideUp(lines, tiles);
    for (int64_t t = 0; t < tiles; ++t) {  // of almost equal height, so that no small one is left over
      const int64_t top = row + t * count / tiles, height = row + (t + 1) * count / tiles - top;
      MultiplyTile(kernel_,
                   {.x = a + top * in_ + first,
                    .x_stride = in_,
                    .panel = panel_at(first, p),
                    .depth = depth,
                    .bias = bias != nullptr && first == 0 ? bias + p * columns : nullptr,
                    .out = c + top * out_ + p * columns,
                    .out_stride = out_,
                    .add = add || first > 0,
                    .fetch = next + t * tile_lines * (depth / kGroup) * kLine,
                    .fetch_lines = t * tile_lines < lines ? tile_lines : 0},
                   height);
    }
  };
  // A piece of panels is read by one thread only.
  const auto share = [&](int64_t begin, int64_t end) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      for (int64_t first = 0; first < in_; first += kDepth) {
        for (int64_t p = begin; p < end; ++p) {
          int64_t next_first = first, next_p = p + 1;
          if (next_p == end) {
            next_first = first + kDepth;
            next_p = begin;
            if (next_first >= in_) {
              next_first = 0;
              if (chunk + 1 == chunks) next_p = std::min(untaken.load(), panels - 1);  // most likely
            }
          }
          multiply(chunk, first, p, panel_at(next_first, next_p));
        }
      }
    }
  };
  ParallelFor(std::min(threads, DivideUp(panels, piece)), 1, [&](int64_t, int64_t) {
    for (int64_t p; (p = untaken.fetch_add(piece)) < panels;) share(p, std::min(p + piece, panels));
  });
}

}  // namespace embedd
