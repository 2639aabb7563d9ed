// SPDX-License-Identifier: Apache-2.0

#include "server/engine/panel_kernel.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>

#include <cstdlib>
#endif

namespace embedd {
namespace {

// A sanitizer that looks at every load makes the loop ten times slower, and whole models with it: the kernels
// are kept from it, and it looks at the tile's memory once instead.
void CheckMemory([[maybe_unused]] const PanelKernel& kernel, [[maybe_unused]] const PanelTile& tile,
                 [[maybe_unused]] int64_t rows) {
#if defined(__SANITIZE_ADDRESS__)
  const auto check = [](const float* start, int64_t floats) {
    volatile const char* const bad = static_cast<const char*>(
        __asan_region_is_poisoned(const_cast<float*>(start), static_cast<size_t>(floats) * sizeof(float)));
    if (bad == nullptr) return;
    static_cast<void>(*bad);  // the sanitizer reports this read
    std::abort();
  };
  check(tile.panel, tile.depth * kernel.columns);
  if (tile.bias != nullptr) check(tile.bias, kernel.columns);
  for (int64_t r = 0; r < rows; ++r) {
    check(tile.x + r * tile.x_stride, tile.depth);
    check(tile.out + r * tile.out_stride, kernel.columns);
  }
#endif
}

}  // namespace

const PanelKernel* PanelKernelFor(int64_t columns) {
  static const PanelKernel* const kKernels[] = {Avx512PanelKernel(), Avx2PanelKernel()};
  for (const PanelKernel* kernel : kKernels) {
    if (kernel != nullptr && columns % kernel->columns == 0) return kernel;
  }
  return nullptr;
}

const PanelKernel* WidestPanelKernel() {
  static const PanelKernel* const kKernels[] = {AmxPanelKernel(), WideAvx512PanelKernel()};
  for (const PanelKernel* kernel : kKernels) {
    if (kernel != nullptr) return kernel;
  }
  return Avx2PanelKernel();
}

void MultiplyTile(const PanelKernel& kernel, const PanelTile& tile, int64_t rows) {
  CheckMemory(kernel, tile, rows);
  kernel.multiply[rows - 1](tile);
}

void TransposeFour(const std::array<const float*, 4>& rows, int64_t count, float* out, int64_t out_stride) {
#if defined(__x86_64__)
  for (int64_t i = 0; i < count; i += 4) {
    __m128 a = _mm_loadu_ps(rows[0] + i), b = _mm_loadu_ps(rows[1] + i);
    __m128 c = _mm_loadu_ps(rows[2] + i), d = _mm_loadu_ps(rows[3] + i);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(out + i * out_stride, a);
    _mm_storeu_ps(out + (i + 1) * out_stride, b);
    _mm_storeu_ps(out + (i + 2) * out_stride, c);
    _mm_storeu_ps(out + (i + 3) * out_stride, d);
  }
#else
  for (int64_t i = 0; i < count; ++i) {
    for (size_t row = 0; row < rows.size(); ++row)
      out[i * out_stride + static_cast<int64_t>(row)] = rows[row][i];
  }
#endif
}

}  // namespace embedd
