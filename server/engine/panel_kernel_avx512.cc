// SPDX-License-Identifier: Apache-2.0
//
// AVX-512: 10 x 32. More rows would fit the 32 registers of sums, but not, with their addresses, the 16 of
// the others; 11 and 12 were slower (Zen 5).

#include "server/engine/panel_kernel.h"
#include "server/engine/softmax_row.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define EMBEDD_AVX512 __attribute__((target("avx512f"), no_sanitize("address", "undefined")))

namespace embedd {
namespace {

constexpr int64_t kColumns = 32;  // two registers of sixteen

template <int kRows>
EMBEDD_AVX512 void Multiply(const PanelTile& tile) {
  __m512 sums[kRows][2];
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    sums[r][0] = tile.bias != nullptr ? _mm512_loadu_ps(tile.bias) : _mm512_setzero_ps();
    sums[r][1] = tile.bias != nullptr ? _mm512_loadu_ps(tile.bias + 16) : _mm512_setzero_ps();
  }
  const float* const x = tile.x;
  const int64_t stride = tile.x_stride, whole = tile.depth / kGroup * kGroup;
  const float* fetch = tile.fetch;
  for (int64_t i = 0; i < tile.depth;) {
    for (int64_t line = 0; line < tile.fetch_lines; ++line, fetch += kLine) {
      _mm_prefetch(reinterpret_cast<const char*>(fetch), _MM_HINT_T1);
    }
    const int64_t end = i < whole ? i + kGroup : tile.depth;
    for (; i < end; ++i) {
      const __m512 left = _mm512_loadu_ps(tile.panel + i * kColumns);
      const __m512 right = _mm512_loadu_ps(tile.panel + i * kColumns + 16);
      EMBEDD_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m512 input = _mm512_set1_ps(x[r * stride + i]);
        sums[r][0] = _mm512_fmadd_ps(input, left, sums[r][0]);
        sums[r][1] = _mm512_fmadd_ps(input, right, sums[r][1]);
      }
    }
  }
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float* const out = tile.out + r * tile.out_stride;
    if (tile.add) {
      sums[r][0] = _mm512_add_ps(sums[r][0], _mm512_loadu_ps(out));
      sums[r][1] = _mm512_add_ps(sums[r][1], _mm512_loadu_ps(out + 16));
    }
    _mm512_storeu_ps(out, sums[r][0]);
    _mm512_storeu_ps(out + 16, sums[r][1]);
  }
}

__attribute__((target("avx512f"))) void Softmax(float* row, int64_t count, float scale) {
  SoftmaxRow<Floats16, Ints16>(row, count, scale);
}

}  // namespace

const PanelKernel* Avx512PanelKernel() {
  static constexpr void (*kMultiply[])(const PanelTile&) = {
      Multiply<1>, Multiply<2>, Multiply<3>, Multiply<4>, Multiply<5>,
      Multiply<6>, Multiply<7>, Multiply<8>, Multiply<9>, Multiply<10>};
  static constexpr PanelKernel kKernel = {"avx512", kColumns, sizeof(kMultiply) / sizeof(*kMultiply),
                                          kMultiply, Softmax};
  return __builtin_cpu_supports("avx512f") ? &kKernel : nullptr;
}

}  // namespace embedd

#else

namespace embedd {
const PanelKernel* Avx512PanelKernel() { return nullptr; }
}  // namespace embedd

#endif
