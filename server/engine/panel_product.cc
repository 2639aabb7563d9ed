// SPDX-License-Identifier: Apache-2.0

#include "server/engine/panel_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>
#include <optional>

#include "server/engine/parallel_for.h"
#include "server/engine/split_tiles.h"

namespace embedd {
namespace {

// 96 rows by 768 inputs of x are 288 KiB and a panel 48 to 144 KiB: both stay in a second-level cache of
// 512 KiB. Rounded down to whole tiles.
constexpr int64_t kRows = 96;
constexpr int64_t kDepth = 768;
// Threads take pieces of a product until none is left, since the processors of a shared machine are not
// equally fast: so many for each thread, of at least so many multiply-adds (30 to 80 microseconds).
constexpr int64_t kPieces = 12;
// In tiles a piece begins with splitting its rows, which costs what some panels do.
constexpr int64_t kPiecesInTiles = 4;
constexpr int64_t kPieceWork = 1 << 22;
// Of the largest tile of any kernel.
constexpr int64_t kMostRows = 16, kMostColumns = 48;

// The rows [begin, end), at most kRows, in tiles of almost equal height, so that no small one is left over.
struct Tiles {
  Tiles(int64_t begin, int64_t end, int64_t rows) : count(DivideUp(end - begin, rows)) {
    for (int64_t t = 0; t <= count; ++t) top[t] = begin + t * (end - begin) / count;
  }

  int64_t count;
  int64_t top[kRows + 1];  // of each tile, and where the last one ends
};

struct Matrices {
  const float* x;       // [rows, in]
  const float* panels;  // see PanelProduct
  const float* bias;    // or null
  float* y;             // [rows, out]
  int64_t rows, in, out;
  bool add;
};

// A product in pieces: a chunk of rows by so many panels each. The rows of a chunk stay in the cache
// meanwhile, and panels come in the order in which they are fetched ahead; pieces of the same panels follow
// each other, so that what one thread brought from memory the next finds nearer.
class Pieces {
 public:
  Pieces(const PanelKernel& kernel, const Matrices& m, int64_t threads)
      : kernel_(kernel),
        m_(m),
        in_tiles_(kernel.in_tiles && m.rows >= SplitTiles::kLeastRows),
        panels_(DivideUp(m.out, kernel.columns)),
        chunks_(DivideUp(m.rows, in_tiles_ ? SplitTiles::kRows : kRows / kernel.rows * kernel.rows)) {
    const int64_t panel_work = DivideUp(m.rows, chunks_) * m.in * kernel.columns;
    const int64_t pieces = (in_tiles_ ? kPiecesInTiles : kPieces) * threads;
    piece_panels_ =
        std::min(panels_, std::max(DivideUp(panels_ * chunks_, pieces), DivideUp(kPieceWork, panel_work)));
  }

  bool in_tiles() const { return in_tiles_; }

  int64_t count() const { return DivideUp(panels_, piece_panels_) * chunks_; }

  // Computes piece i; the first untaken one is what this thread will most likely take then. `split`: of this
  // thread, where pieces are computed in tiles.
  void Run(int64_t i, const std::atomic<int64_t>& untaken, SplitTiles* split) const {
    const int64_t begin = FirstPanel(i), end = std::min(begin + piece_panels_, panels_), chunk = i % chunks_;
    const int64_t top = chunk * m_.rows / chunks_, bottom = (chunk + 1) * m_.rows / chunks_;
    const Tiles tiles(top, bottom, kernel_.rows);
    for (int64_t first = 0; first < m_.in; first += kDepth) {
      if (split != nullptr) split->TakeRows(m_.x + top * m_.in + first, m_.in, bottom - top, Depth(first));
      for (int64_t p = begin; p < end; ++p) {
        const float* following = nullptr;
        if (p + 1 < end) {
          following = Panel(first, p + 1);
        } else if (first + kDepth < m_.in) {
          following = Panel(first + kDepth, begin);
        } else {
          following = Panel(0, FirstPanel(std::min(untaken.load(), count() - 1)));
        }
        if (split != nullptr) {
          MultiplySplit(*split, top, first, p, following);
        } else {
          Multiply(tiles, first, p, following);
        }
      }
    }
  }

 private:
  int64_t FirstPanel(int64_t piece) const { return piece / chunks_ * piece_panels_; }
  int64_t Depth(int64_t first) const { return std::min(kDepth, m_.in - first); }
  const float* Panel(int64_t first, int64_t p) const {
    return m_.panels + first * panels_ * kernel_.columns + p * Depth(first) * kernel_.columns;
  }

  // The rows by panel p of the inputs from `first` on, while the panel after it is fetched.
  void Multiply(const Tiles& tiles, int64_t first, int64_t p, const float* following) const {
    PanelTile tile = {.x = nullptr,
                      .x_stride = m_.in,
                      .panel = Panel(first, p),
                      .depth = Depth(first),
                      .bias = m_.bias != nullptr && first == 0 ? m_.bias + p * kernel_.columns : nullptr,
                      .out = nullptr,
                      .out_stride = m_.out,
                      .add = m_.add || first > 0,
                      .fetch = following,
                      .fetch_lines = DivideUp(kGroup * kernel_.columns / kLine, tiles.count)};
    const int64_t fetched = tile.fetch_lines * (tile.depth / kGroup) * kLine;
    for (int64_t t = 0; t < tiles.count; ++t, tile.fetch += fetched) {
      tile.x = m_.x + tiles.top[t] * m_.in + first;
      tile.out = m_.y + tiles.top[t] * m_.out + p * kernel_.columns;
      const int64_t rows = tiles.top[t + 1] - tiles.top[t], columns = m_.out - p * kernel_.columns;
      if (columns >= kernel_.columns) {
        MultiplyTile(kernel_, tile, rows);
      } else {
        MultiplyPart(tile, rows, columns);
      }
    }
  }

  void MultiplySplit(SplitTiles& split, int64_t top, int64_t first, int64_t p, const float* following) const {
    const int64_t column = p * kernel_.columns;
    split.Multiply({.data = Panel(first, p),
                    .bias = m_.bias != nullptr && first == 0 ? m_.bias + column : nullptr,
                    .out = m_.y + top * m_.out + column,
                    .out_stride = m_.out,
                    .columns = std::min(kernel_.columns, m_.out - column),
                    .add = m_.add || first > 0,
                    .next = following});
  }

  // The last panel of a weight whose outputs do not divide into panels: its columns go through a tile of
  // their own, or they would be written into the row below.
  void MultiplyPart(PanelTile tile, int64_t rows, int64_t columns) const {
    float wide[kMostRows * kMostColumns];
    float* const out = tile.out;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < kernel_.columns; ++c) {
        float& value = wide[r * kernel_.columns + c];
        value = c < columns && tile.add ? out[r * m_.out + c] : 0;
        if (c < columns && tile.bias != nullptr) value += tile.bias[c];
      }
    }
    tile.bias = nullptr;
    tile.add = true;
    tile.out = wide;
    tile.out_stride = kernel_.columns;
    MultiplyTile(kernel_, tile, rows);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(wide + r * kernel_.columns, columns, out + r * m_.out);
    }
  }

  const PanelKernel& kernel_;
  const Matrices& m_;
  const bool in_tiles_;
  const int64_t panels_, chunks_;
  int64_t piece_panels_;
};

}  // namespace

bool PanelProduct::Available() { return Avx2PanelKernel() != nullptr; }

const PanelKernel* PanelProduct::KernelFor(const at::Tensor& weight) {
  if (!weight.device().is_cpu() || weight.scalar_type() != at::kFloat) return nullptr;
  // Of many outputs the widest: a last panel that is not full costs less than narrow ones.
  const int64_t out = weight.size(0);
  const PanelKernel* widest = WidestPanelKernel();
  if (widest != nullptr && out >= 8 * widest->columns) return widest;
  return PanelKernelFor(out);
}

PanelProduct::PanelProduct(const at::Tensor& weight, const PanelKernel& kernel)
    : kernel_(kernel), out_(weight.size(0)), in_(weight.size(1)) {
  static_assert(kDepth == SplitTiles::kDepth);
  TORCH_CHECK(kernel.rows <= kMostRows && kernel.columns <= kMostColumns);
  const int64_t padded = DivideUp(out_, kernel.columns) * kernel.columns;
  panels_ = at::empty({padded * in_}, weight.options());
  for (int64_t first = 0; first < in_; first += kDepth) {
    const int64_t depth = std::min(kDepth, in_ - first);
    at::Tensor rows = weight.narrow(1, first, depth);
    if (padded != out_) rows = at::cat({rows, at::zeros({padded - out_, depth}, weight.options())});
    const at::Tensor block = rows.reshape({padded / kernel.columns, kernel.columns, depth}).transpose(1, 2);
    panels_.narrow(0, first * padded, depth * padded).view(block.sizes()).copy_(block);
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
  const Matrices matrices = {.x = x.const_data_ptr<float>(),
                             .panels = panels_.const_data_ptr<float>(),
                             .bias = bias_any.defined() ? bias_any.const_data_ptr<float>() : nullptr,
                             .y = out.mutable_data_ptr<float>(),
                             .rows = x.numel() / in_,
                             .in = in_,
                             .out = out_,
                             .add = add};
  if (matrices.rows == 0) return;
  const int64_t threads = at::get_num_threads();
  const Pieces pieces(kernel_, matrices, threads);
  std::atomic<int64_t> untaken = 0;
  const int64_t workers = std::min(threads, pieces.count());
  at::Tensor scratch;
  if (pieces.in_tiles())
    scratch = at::empty({workers, SplitTiles::kScratchBytes}, x.options().dtype(at::kByte));
  ParallelFor(workers, 1, [&](int64_t worker, int64_t) {
    std::optional<SplitTiles> split;
    if (pieces.in_tiles())
      split.emplace(scratch.mutable_data_ptr<uint8_t>() + worker * SplitTiles::kScratchBytes);
    for (int64_t i; (i = untaken.fetch_add(1)) < pieces.count();)
      pieces.Run(i, untaken, split ? &*split : nullptr);
  });
}

}  // namespace embedd
