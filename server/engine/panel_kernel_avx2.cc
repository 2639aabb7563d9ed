// SPDX-License-Identifier: Apache-2.0
//
// AVX2 and FMA: 6 x 16. 12 sums, 2 weights and 1 input take 15 of the 16 registers.

#include "server/engine/panel_kernel.h"
#include "server/engine/softmax_row.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define EMBEDD_AVX2 __attribute__((target("avx2,fma"), no_sanitize("address", "undefined")))

namespace embedd {
namespace {

constexpr int64_t kColumns = 16;  // two registers of eight

template <int kRows>
EMBEDD_AVX2 void Multiply(const PanelTile& tile) {
  __m256 sums[kRows][2];
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    sums[r][0] = tile.bias != nullptr ? _mm256_loadu_ps(tile.bias) : _mm256_setzero_ps();
    sums[r][1] = tile.bias != nullptr ? _mm256_loadu_ps(tile.bias + 8) : _mm256_setzero_ps();
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
      const __m256 left = _mm256_loadu_ps(tile.panel + i * kColumns);
      const __m256 right = _mm256_loadu_ps(tile.panel + i * kColumns + 8);
      EMBEDD_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m256 input = _mm256_broadcast_ss(x + r * stride + i);
        sums[r][0] = _mm256_fmadd_ps(input, left, sums[r][0]);
        sums[r][1] = _mm256_fmadd_ps(input, right, sums[r][1]);
      }
    }
  }
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float* const out = tile.out + r * tile.out_stride;
    if (tile.add) {
      sums[r][0] = _mm256_add_ps(sums[r][0], _mm256_loadu_ps(out));
      sums[r][1] = _mm256_add_ps(sums[r][1], _mm256_loadu_ps(out + 8));
    }
    _mm256_storeu_ps(out, sums[r][0]);
    _mm256_storeu_ps(out + 8, sums[r][1]);
  }
}

__attribute__((target("avx2,fma"))) void Softmax(float* row, int64_t count, float scale) {
  SoftmaxRow<Floats8, Ints8>(row, count, scale);
}

}  // namespace

const PanelKernel* Avx2PanelKernel() {
  static constexpr void (*kMultiply[])(const PanelTile&) = {Multiply<1>, Multiply<2>, Multiply<3>,
                                                            Multiply<4>, Multiply<5>, Multiply<6>};
  static constexpr PanelKernel kKernel = {"avx2", kColumns, sizeof(kMultiply) / sizeof(*kMultiply), kMultiply,
                                          Softmax};
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kKernel : nullptr;
}

}  // namespace embedd

#else

namespace embedd {
const PanelKernel* Avx2PanelKernel() { return nullptr; }
}  // namespace embedd

#endif
