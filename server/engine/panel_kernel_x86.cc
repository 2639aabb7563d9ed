// SPDX-License-Identifier: Apache-2.0
//
// The panel kernels of x86: one source, of which each instruction set is a vector type of GCC and Clang and a
// target. Intrinsics and a portable library were weighed (docs/performance.md, "One source for the kernels").

#include "server/engine/panel_kernel.h"
#include "server/engine/row_math.h"
#include "server/engine/split_tiles.h"

#if defined(__x86_64__)

#include <iterator>

namespace embedd {
namespace {

template <typename Floats>
inline constexpr int64_t kLanes = sizeof(Floats) / sizeof(float);

// The same vector where it may lie anywhere.
template <typename Floats>
struct Anywhere {
  typedef Floats Vector __attribute__((aligned(sizeof(float)), may_alias));
};

// One input of every row times its columns of the panel, which is kWide registers wide.
template <typename Floats, int kRows, int kWide>
__attribute__((always_inline, no_sanitize("address", "undefined"))) inline void AddProduct(
    const float* x, int64_t x_stride, const float* panel, Floats (&sums)[kRows][kWide]) {
  using Vector = typename Anywhere<Floats>::Vector;
  Floats weights[kWide];
  EMBEDD_UNROLL
  for (int w = 0; w < kWide; ++w) {
    weights[w] = *reinterpret_cast<const Vector*>(panel + w * kLanes<Floats>);
    // The nearest cache of an AVX-512 processor does not hold a panel; one of 32 KiB has no room for it
    // ahead.
    if constexpr (sizeof(Floats) == 64)
      __builtin_prefetch(panel + 8 * kWide * kLanes<Floats> + w * kLanes<Floats>, /*rw=*/0, /*locality=*/3);
  }
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    // Minus zero is nothing, and no instruction; plus zero would turn -0 into 0, and is one in the innermost
    // loop.
    const Floats input = x[r * x_stride] - Floats{};
    EMBEDD_UNROLL
    for (int w = 0; w < kWide; ++w) sums[r][w] += input * weights[w];
  }
}

// The sums of kRows rows lie in registers: the caller takes as many rows as there are.
template <typename Floats, int kRows, int kWide>
__attribute__((always_inline, no_sanitize("address", "undefined"))) inline void MultiplyRows(
    const PanelTile& tile) {
  using Vector = typename Anywhere<Floats>::Vector;
  constexpr int64_t kColumns = kWide * kLanes<Floats>;
  Floats sums[kRows][kWide];
  EMBEDD_UNROLL
  for (int w = 0; w < kWide; ++w) {
    const Floats bias =
        tile.bias != nullptr ? *reinterpret_cast<const Vector*>(tile.bias + w * kLanes<Floats>) : Floats{};
    EMBEDD_UNROLL
    for (int r = 0; r < kRows; ++r) sums[r][w] = bias;
  }
  const int64_t stride = tile.x_stride, whole = tile.depth / kGroup * kGroup;
  const float* x = tile.x;
  const float* panel = tile.panel;
  const float* fetch = tile.fetch;
  for (int64_t i = 0; i < whole; i += kGroup, x += kGroup, panel += kGroup * kColumns) {
    for (int64_t line = 0; line < tile.fetch_lines; ++line, fetch += kLine) {
      __builtin_prefetch(fetch, /*rw=*/0, /*locality=*/2);
    }
    // Unrolled AVX-512 is a tenth faster (Granite Rapids), AVX2 a twentieth slower.
    if constexpr (sizeof(Floats) == 64) {
      EMBEDD_UNROLL
      for (int g = 0; g < kGroup; ++g)
        AddProduct<Floats, kRows, kWide>(x + g, stride, panel + g * kColumns, sums);
    } else {
      for (int g = 0; g < kGroup; ++g)
        AddProduct<Floats, kRows, kWide>(x + g, stride, panel + g * kColumns, sums);
    }
  }
  for (int64_t i = whole; i < tile.depth; ++i, ++x, panel += kColumns) {
    AddProduct<Floats, kRows, kWide>(x, stride, panel, sums);
  }
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    EMBEDD_UNROLL
    for (int w = 0; w < kWide; ++w) {
      Vector* const out = reinterpret_cast<Vector*>(tile.out + r * tile.out_stride + w * kLanes<Floats>);
      if (tile.add) sums[r][w] += *out;
      *out = sums[r][w];
    }
  }
}

#define EMBEDD_AVX2 __attribute__((target("avx2,fma"), no_sanitize("address", "undefined")))
#define EMBEDD_AVX512 __attribute__((target("avx512f"), no_sanitize("address", "undefined")))

// 6 x 16: 12 sums, 2 weights and 1 input take 15 of the 16 registers.
template <int kRows>
EMBEDD_AVX2 void MultiplyAvx2(const PanelTile& tile) {
  MultiplyRows<Floats8, kRows, 2>(tile);
}

// 10 x 32. More rows would fit the 32 registers of sums, but not, with their addresses, the 16 of the others;
// 11 and 12 were slower (Zen 5).
template <int kRows>
EMBEDD_AVX512 void MultiplyAvx512(const PanelTile& tile) {
  MultiplyRows<Floats16, kRows, 2>(tile);
}

// 9 x 48: 27 sums, 3 weights and 1 input take 31 of the 32 registers.
template <int kRows>
EMBEDD_AVX512 void MultiplyWideAvx512(const PanelTile& tile) {
  MultiplyRows<Floats16, kRows, 3>(tile);
}

__attribute__((target("avx2,fma"))) void SoftmaxAvx2(float* row, int64_t count, float scale) {
  SoftmaxRow<Floats8, Ints8>(row, count, scale);
}

__attribute__((target("avx512f"))) void SoftmaxAvx512(float* row, int64_t count, float scale) {
  SoftmaxRow<Floats16, Ints16>(row, count, scale);
}

__attribute__((target("avx2,fma"))) void GeluTanhAvx2(float* row, int64_t count) {
  GeluTanhRow<Floats8, Ints8>(row, count);
}

__attribute__((target("avx512f"))) void GeluTanhAvx512(float* row, int64_t count) {
  GeluTanhRow<Floats16, Ints16>(row, count);
}

}  // namespace

const PanelKernel* Avx2PanelKernel() {
  static constexpr void (*kMultiply[])(const PanelTile&) = {
      MultiplyAvx2<1>, MultiplyAvx2<2>, MultiplyAvx2<3>, MultiplyAvx2<4>, MultiplyAvx2<5>, MultiplyAvx2<6>};
  static constexpr PanelKernel kKernel = {"avx2",
                                          2 * kLanes<Floats8>,
                                          std::size(kMultiply),
                                          kMultiply,
                                          /*in_tiles=*/false,
                                          SoftmaxAvx2,
                                          GeluTanhAvx2};
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kKernel : nullptr;
}

const PanelKernel* Avx512PanelKernel() {
  static constexpr void (*kMultiply[])(const PanelTile&) = {
      MultiplyAvx512<1>, MultiplyAvx512<2>, MultiplyAvx512<3>, MultiplyAvx512<4>, MultiplyAvx512<5>,
      MultiplyAvx512<6>, MultiplyAvx512<7>, MultiplyAvx512<8>, MultiplyAvx512<9>, MultiplyAvx512<10>};
  static constexpr PanelKernel kKernel = {"avx512",           2 * kLanes<Floats16>, std::size(kMultiply),
                                          kMultiply,
                                          /*in_tiles=*/false, SoftmaxAvx512,        GeluTanhAvx512};
  return __builtin_cpu_supports("avx512f") ? &kKernel : nullptr;
}

const PanelKernel* WideAvx512PanelKernel() {
  static constexpr void (*kMultiply[])(const PanelTile&) = {
      MultiplyWideAvx512<1>, MultiplyWideAvx512<2>, MultiplyWideAvx512<3>,
      MultiplyWideAvx512<4>, MultiplyWideAvx512<5>, MultiplyWideAvx512<6>,
      MultiplyWideAvx512<7>, MultiplyWideAvx512<8>, MultiplyWideAvx512<9>};
  static constexpr PanelKernel kKernel = {"avx512 wide", 3 * kLanes<Floats16>, std::size(kMultiply),
                                          kMultiply,     /*in_tiles=*/false,   SoftmaxAvx512,
                                          GeluTanhAvx512};
  return __builtin_cpu_supports("avx512f") ? &kKernel : nullptr;
}

const PanelKernel* AmxPanelKernel() {
  static const PanelKernel* const kKernel = []() -> const PanelKernel* {
    const PanelKernel* few_rows = Avx512PanelKernel();
    if (few_rows == nullptr || !SplitTiles::Available()) return nullptr;
    static const PanelKernel kInTiles = {"amx",
                                         few_rows->columns,
                                         few_rows->rows,
                                         few_rows->multiply,
                                         /*in_tiles=*/true,
                                         few_rows->softmax,
                                         few_rows->gelu_tanh};
    return &kInTiles;
  }();
  return kKernel;
}

}  // namespace embedd

#else

namespace embedd {
const PanelKernel* Avx2PanelKernel() { return nullptr; }
const PanelKernel* Avx512PanelKernel() { return nullptr; }
const PanelKernel* WideAvx512PanelKernel() { return nullptr; }
const PanelKernel* AmxPanelKernel() { return nullptr; }
}  // namespace embedd

#endif
