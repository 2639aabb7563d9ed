// SPDX-License-Identifier: Apache-2.0
//
// The functions carry their target themselves: the file is built with plain flags, so nothing inline from a
// header can end up in the program compiled for a processor that is not there.

#include "server/model/panel_kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>

#include <cstdlib>
#endif

// The sums are registers only when the loops over rows are gone.
#if defined(__clang__)
#define EMBEDD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EMBEDD_UNROLL _Pragma("GCC unroll 8")
#endif

namespace embedd {
namespace {

// A sanitizer that looks at every load makes the loop ten times slower, and whole models with it: it looks at
// the tile's memory once instead.
void CheckMemory([[maybe_unused]] const PanelTile& tile, [[maybe_unused]] int rows) {
#if defined(__SANITIZE_ADDRESS__)
  const auto check = [](const float* start, int64_t floats) {
    volatile const char* const bad = static_cast<const char*>(
        __asan_region_is_poisoned(const_cast<float*>(start), static_cast<size_t>(floats) * sizeof(float)));
    if (bad == nullptr) return;
    static_cast<void>(*bad);  // the sanitizer reports this read
    std::abort();
  };
  check(tile.panel, tile.depth * kPanel);
  if (tile.bias != nullptr) check(tile.bias, kPanel);
  for (int r = 0; r < rows; ++r) {
    check(tile.x + r * tile.x_stride, tile.depth);
    check(tile.out + r * tile.out_stride, kPanel);
  }
#endif
}

template <int kRows>
__attribute__((target("avx2,fma"), no_sanitize("address", "undefined"))) void Multiply(
    const PanelTile& tile) {
  __m256 sums[kRows][2];
  EMBEDD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    sums[r][0] = tile.bias != nullptr ? _mm256_loadu_ps(tile.bias) : _mm256_setzero_ps();
    sums[r][1] = tile.bias != nullptr ? _mm256_loadu_ps(tile.bias + 8) : _mm256_setzero_ps();
  }
  const float* const x = tile.x;
  const int64_t stride = tile.x_stride, whole = tile.depth / kFetchParts * kFetchParts;
  for (int64_t i = 0; i < tile.depth;) {
    // One cache line of the next panel for every eight inputs.
    _mm_prefetch(reinterpret_cast<const char*>(tile.fetch + i / kFetchParts * kPanel), _MM_HINT_T1);
    const int64_t end = i < whole ? i + kFetchParts : tile.depth;
    for (; i < end; ++i) {
      const __m256 left = _mm256_loadu_ps(tile.panel + i * kPanel);
      const __m256 right = _mm256_loadu_ps(tile.panel + i * kPanel + 8);
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

}  // namespace

void MultiplyTile(const PanelTile& tile, int rows) {
  CheckMemory(tile, rows);
  switch (rows) {
    case 1:
      return Multiply<1>(tile);
    case 2:
      return Multiply<2>(tile);
    case 3:
      return Multiply<3>(tile);
    case 4:
      return Multiply<4>(tile);
    case 5:
      return Multiply<5>(tile);
    default:
      return Multiply<6>(tile);
  }
}

}  // namespace embedd

#else

namespace embedd {
void MultiplyTile(const PanelTile&, int) {}
}  // namespace embedd

#endif
