// SPDX-License-Identifier: Apache-2.0
//
// The panel kernels of x86: one source, of which each instruction set is a vector type of GCC and Clang and a
// target. Intrinsics and a portable library were weighed (docs/performance.md, "One source for the kernels").

#include "server/engine/panel_kernel.h"
#include "server/engine/softmax_row.h"

#if defined(__x86_64__)

#include <iterator>

namespace embedd {
namespace {

template <typename Floats>
inline constexpr int64_t kLanes = sizeof(Floats) / sizeof(float);

// A panel is two registers wide.
template <typename Floats>
inline constexpr int64_t kPanelColumns = 2 * kLanes<Floats>;

// The same vector where it may lie anywhere.
template <typename Floats>
struct Anywhere {
  typedef Floats Vector __attribute__((aligned(sizeof(float)), may_alias));
};

// The sums of kRows rows lie in registers: the caller takes as many rows as there are.
template <typename Floats, int kRows>
__attribute__((always_inline, no_sanitize("address", "undefined"))) inline void MultiplyRows(
    const PanelTile& tile) {
  using Vector = typename Anywhere<Floats>::Vector;
  constexpr int64_t kRight = kLanes<Floats>, kColumns = kPanelColumns<Floats>;
  Floats sums[kRows][2];
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    sums[r][0] = tile.bias != nullptr ? *reinterpret_cast<const Vector*>(tile.bias) : Floats{};
    sums[r][1] = tile.bias != nullptr ? *reinterpret_cast<const Vector*>(tile.bias + kRight) : Floats{};
  }
  const float* const x = tile.x;
  const int64_t stride = tile.x_stride, whole = tile.depth / kGroup * kGroup;
  const float* fetch = tile.fetch;
  for (int64_t i = 0; i < tile.depth;) {
    for (int64_t line = 0; line < tile.fetch_lines; ++line, fetch += kLine) {
      __builtin_prefetch(fetch, /*rw=*/0, /*locality=*/2);
    }
    const int64_t end = i < whole ? i + kGroup : tile.depth;
    for (; i < end; ++i) {
      const Floats left = *reinterpret_cast<const Vector*>(tile.panel + i * kColumns);
      const Floats right = *reinterpret_cast<const Vector*>(tile.panel + i * kColumns + kRight);
      EMBEDD_UNROLL
      for (int r = 0; r < kRows; ++r) {
        // Minus zero is nothing, and no instruction; plus zero would turn -0 into 0, and is one in the
        // innermost loop.
        const Floats input = x[r * stride + i] - Floats{};
        sums[r][0] += input * left;
        sums[r][1] += input * right;
      }
    }
  }
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float* const out = tile.out + r * tile.out_stride;
    Vector* const left = reinterpret_cast<Vector*>(out);
    Vector* const right = reinterpret_cast<Vector*>(out + kRight);
    if (tile.add) {
      sums[r][0] += *left;
      sums[r][1] += *right;
    }
    *left = sums[r][0];
    *right = sums[r][1];
  }
}

#define EMBEDD_AVX2 __attribute__((target("avx2,fma"), no_sanitize("address", "undefined")))
#define EMBEDD_AVX512 __attribute__((target("avx512f"), no_sanitize("address", "undefined")))

// 6 x 16: 12 sums, 2 weights and 1 input take 15 of the 16 registers.
template <int kRows>
EMBEDD_AVX2 void MultiplyAvx2(const PanelTile& tile) {
  MultiplyRows<Floats8, kRows>(tile);
}

// 10 x 32. More rows would fit the 32 registers of sums, but not, with their addresses, the 16 of the others;
// 11 and 12 were slower (Zen 5).
template <int kRows>
EMBEDD_AVX512 void MultiplyAvx512(const PanelTile& tile) {
  MultiplyRows<Floats16, kRows>(tile);
}

__attribute__((target("avx2,fma"))) void SoftmaxAvx2(float* row, int64_t count, float scale) {
  SoftmaxRow<Floats8, Ints8>(row, count, scale);
}

__attribute__((target("avx512f"))) void SoftmaxAvx512(float* row, int64_t count, float scale) {
  SoftmaxRow<Floats16, Ints16>(row, count, scale);
}

}  // namespace

const PanelKernel* Avx2PanelKernel() {
  static constexpr void (*kMultiply[])(const PanelTile&) = {
      MultiplyAvx2<1>, MultiplyAvx2<2>, MultiplyAvx2<3>, MultiplyAvx2<4>, MultiplyAvx2<5>, MultiplyAvx2<6>};
  static constexpr PanelKernel kKernel = {"avx2", kPanelColumns<Floats8>, std::size(kMultiply), kMultiply,
                                          SoftmaxAvx2};
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kKernel : nullptr;
}

const PanelKernel* Avx512PanelKernel() {
  static constexpr void (*kMultiply[])(const PanelTile&) = {
      MultiplyAvx512<1>, MultiplyAvx512<2>, MultiplyAvx512<3>, MultiplyAvx512<4>, MultiplyAvx512<5>,
      MultiplyAvx512<6>, MultiplyAvx512<7>, MultiplyAvx512<8>, MultiplyAvx512<9>, MultiplyAvx512<10>};
  static constexpr PanelKernel kKernel = {"avx512", kPanelColumns<Floats16>, std::size(kMultiply), kMultiply,
                                          SoftmaxAvx512};
  return __builtin_cpu_supports("avx512f") ? &kKernel : nullptr;
}

}  // namespace embedd

#else

namespace embedd {
const PanelKernel* Avx2PanelKernel() { return nullptr; }
const PanelKernel* Avx512PanelKernel() { return nullptr; }
}  // namespace embedd

#endif
