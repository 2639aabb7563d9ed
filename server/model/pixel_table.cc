// SPDX-License-Identifier: Apache-2.0

#include "server/model/pixel_table.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace embedd {
namespace {

#if defined(__x86_64__)

// a / d, correctly rounded, from r, the rounded 1 / d: Markstein, "Computation of elementary functions on the
// IBM RISC System/6000 processor" (IBM J. Res. Dev. 34:1, 1990). Three times as fast as the division.
__attribute__((target("avx2,fma"))) inline __m256 Divide(__m256 a, __m256 d, __m256 r) {
  const __m256 quotient = _mm256_mul_ps(a, r);
  return _mm256_fmadd_ps(_mm256_fnmadd_ps(quotient, d, a), r, quotient);
}

// Of the first n / 8 * 8 values.
__attribute__((target("avx2,fma"))) void NormalizeEights(float mean_value, float std_value, const uint8_t* in,
                                                         int64_t n, float* out) {
  const __m256 full = _mm256_set1_ps(255.0f), full_inverse = _mm256_set1_ps(1.0f / 255.0f);
  const __m256 std = _mm256_set1_ps(std_value), std_inverse = _mm256_set1_ps(1.0f / std_value);
  const __m256 mean = _mm256_set1_ps(mean_value);
  for (int64_t i = 0; i + 8 <= n; i += 8) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in + i));
    const __m256 unit = Divide(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), full, full_inverse);
    _mm256_storeu_ps(out + i, Divide(_mm256_sub_ps(unit, mean), std, std_inverse));
  }
}

bool CanVectorize() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

#else

void NormalizeEights(float, float, const uint8_t*, int64_t, float*) {}
bool CanVectorize() { return false; }

#endif

}  // namespace

PixelTable::PixelTable(const ImageSpec& spec)
    : mean_(spec.mean), std_(spec.std), vectorized_(CanVectorize()) {
  std::array<uint8_t, 256> bytes;
  for (int v = 0; v < 256; ++v) bytes[v] = static_cast<uint8_t>(v);
  for (size_t c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) {
      const float unit = static_cast<float>(v) / 255.0f;
      const float centred = unit - spec.mean[c];
      table_[c][v] = centred / spec.std[c];
    }
    if (!vectorized_) continue;
    // All there is to get wrong is 256 values: a mean or deviation for which one differs is looked up.
    std::array<float, 256> values;
    NormalizeEights(mean_[c], std_[c], bytes.data(), 256, values.data());
    vectorized_ = std::memcmp(values.data(), table_[c].data(), sizeof(values)) == 0;
  }
}

void PixelTable::Normalize(int channel, const uint8_t* in, int64_t n, float* out) const {
  int64_t i = 0;
  if (vectorized_) {
    NormalizeEights(mean_[channel], std_[channel], in, n, out);
    i = n / 8 * 8;
  }
  const std::array<float, 256>& values = table_[channel];
  for (; i < n; ++i) out[i] = values[in[i]];
}

}  // namespace embedd
