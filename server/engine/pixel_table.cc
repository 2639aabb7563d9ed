// SPDX-License-Identifier: Apache-2.0

#include "server/engine/pixel_table.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace embedd {
namespace {

using Pieces = PixelTable::Pieces;

#if defined(__x86_64__)

// a / d, correctly rounded, from r, the rounded 1 / d: Markstein, "Computation of elementary functions on the
// IBM RISC System/6000 processor" (IBM J. Res. Dev. 34:1, 1990). Three times as fast as the division.
__attribute__((target("avx2,fma"))) inline __m256 Divide(__m256 a, __m256 d, __m256 r) {
  const __m256 quotient = _mm256_mul_ps(a, r);
  return _mm256_fmadd_ps(_mm256_fnmadd_ps(quotient, d, a), r, quotient);
}

// Of each piece the first n / 8 * 8 values.
__attribute__((target("avx2,fma"))) void NormalizeEights(float mean_value, float std_value, const Pieces& p) {
  const __m256 full = _mm256_set1_ps(255.0f), full_inverse = _mm256_set1_ps(1.0f / 255.0f);
  const __m256 std = _mm256_set1_ps(std_value), std_inverse = _mm256_set1_ps(1.0f / std_value);
  const __m256 mean = _mm256_set1_ps(mean_value);
  for (int64_t piece = 0; piece < p.count; ++piece) {
    const uint8_t* const in = p.in + piece * p.n;
    float* const out = p.out + piece * p.out_stride;
    for (int64_t i = 0; i + 8 <= p.n; i += 8) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in + i));
      const __m256 unit = Divide(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), full, full_inverse);
      _mm256_storeu_ps(out + i, Divide(_mm256_sub_ps(unit, mean), std, std_inverse));
    }
  }
}

__attribute__((target("avx512f"))) inline __m512 Divide(__m512 a, __m512 d, __m512 r) {
  const __m512 quotient = _mm512_mul_ps(a, r);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(quotient, d, a), r, quotient);
}

// Of each piece the first n / 16 * 16 values.
__attribute__((target("avx512f"))) void NormalizeSixteens(float mean_value, float std_value,
                                                          const Pieces& p) {
  const __m512 full = _mm512_set1_ps(255.0f), full_inverse = _mm512_set1_ps(1.0f / 255.0f);
  const __m512 std = _mm512_set1_ps(std_value), std_inverse = _mm512_set1_ps(1.0f / std_value);
  const __m512 mean = _mm512_set1_ps(mean_value);
  constexpr __mmask16 kAll = 0xFFFF;  // without a mask GCC 12 warns of what it has not set
  for (int64_t piece = 0; piece < p.count; ++piece) {
    const uint8_t* const in = p.in + piece * p.n;
    float* const out = p.out + piece * p.out_stride;
    for (int64_t i = 0; i + 16 <= p.n; i += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
      const __m512 unit =
          Divide(_mm512_maskz_cvtepi32_ps(kAll, _mm512_maskz_cvtepu8_epi32(kAll, bytes)), full, full_inverse);
      _mm512_storeu_ps(out + i, Divide(_mm512_sub_ps(unit, mean), std, std_inverse));
    }
  }
}

// So many values at a time; 0 without vectors.
int64_t LanesFor(int64_t n) {
  static const bool kWide = __builtin_cpu_supports("avx512f");
  static const bool kVectors = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return kWide && n % 16 == 0 ? 16 : kVectors ? 8 : 0;
}

void NormalizeVectors(int64_t lanes, float mean, float std, const Pieces& pieces) {
  return lanes == 16 ? NormalizeSixteens(mean, std, pieces) : NormalizeEights(mean, std, pieces);
}

#else

int64_t LanesFor(int64_t) { return 0; }
void NormalizeVectors(int64_t, float, float, const Pieces&) {}

#endif

}  // namespace

PixelTable::PixelTable(const ImageSpec& spec)
    : mean_(spec.mean), std_(spec.std), vectorized_(LanesFor(8) > 0) {
  std::array<uint8_t, 256> bytes;
  for (int v = 0; v < 256; ++v) bytes[v] = static_cast<uint8_t>(v);
  for (size_t c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) {
      const float unit = static_cast<float>(v) / 255.0f;
      const float centred = unit - spec.mean[c];
      table_[c][v] = centred / spec.std[c];
    }
    // All there is to get wrong is 256 values: a mean or deviation for which one differs is looked up.
    for (const int64_t lanes : {LanesFor(8), LanesFor(16)}) {
      if (lanes == 0) continue;
      std::array<float, 256> values;
      NormalizeVectors(lanes, mean_[c], std_[c], {bytes.data(), 256, 1, values.data(), 256});
      if (std::memcmp(values.data(), table_[c].data(), sizeof(values)) != 0) vectorized_ = false;
    }
  }
}

void PixelTable::Normalize(int channel, const Pieces& pieces) const {
  int64_t first = 0;
  if (const int64_t lanes = vectorized_ ? LanesFor(pieces.n) : 0; lanes > 0) {
    NormalizeVectors(lanes, mean_[channel], std_[channel], pieces);
    first = pieces.n / lanes * lanes;
  }
  const std::array<float, 256>& values = table_[channel];
  for (int64_t piece = 0; piece < pieces.count; ++piece) {
    const uint8_t* const in = pieces.in + piece * pieces.n;
    float* const out = pieces.out + piece * pieces.out_stride;
    for (int64_t i = first; i < pieces.n; ++i) out[i] = values[in[i]];
  }
}

}  // namespace embedd
