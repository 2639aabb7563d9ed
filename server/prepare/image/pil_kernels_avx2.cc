// SPDX-License-Identifier: Apache-2.0
//
// The AVX2 kernels. Exact, not approximate: with weight = high * 2^11 + low, both parts fit in 16 bits, so
// two 16-bit multiply-adds give the 32-bit sum that the portable kernel gives, also where partial sums wrap.
// Functions carry the target themselves: the file is built with plain flags, so nothing inline from a header
// can end up in the program compiled for a processor that is not there.

#include "server/prepare/image/pil_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#define EMBEDD_AVX2 __attribute__((target("avx2")))

namespace embedd {
namespace {

// Two multiply-add sums of one group: where four taps of one RGB row meet (k0 k1 | k2 k3).
struct Sum {
  __m256i high;
  __m256i low;
};

EMBEDD_AVX2 inline void AddGroup(const uint8_t* p, __m256i order, __m256i high, __m256i low, Sum* sum) {
  const __m256i pixels = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i pairs = _mm256_shuffle_epi8(pixels, order);
  sum->high = _mm256_add_epi32(sum->high, _mm256_madd_epi16(pairs, high));
  sum->low = _mm256_add_epi32(sum->low, _mm256_madd_epi16(pairs, low));
}

EMBEDD_AVX2 inline __m256i Join(__m256i high, __m256i low) {
  return _mm256_add_epi32(_mm256_slli_epi32(high, kPilSplitBits), low);
}

EMBEDD_AVX2 inline __m128i Finish(const Sum& sum) {
  const __m256i both = Join(sum.high, sum.low);
  const __m128i total = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
  return _mm_srai_epi32(_mm_add_epi32(total, _mm_set1_epi32(kPilRound)), kPilBits);
}

EMBEDD_AVX2 void Horizontal(const uint8_t* const* in, const PilAxis& axis, uint8_t* const* out) {
  // From four RGB pixels: low lane r0 r1 g0 g1 b0 b1 as words, high lane the same of pixels 2 and 3.
  const __m256i order = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                         6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m256i pick_high = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
  const __m256i pick_low = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
  const __m256i zero = _mm256_setzero_si256();
  const int count = axis.count();
  for (int i = 0; i < count; ++i) {
    const int64_t offset = 3 * axis.start(i);
    const uint8_t* p0 = in[0] + offset;
    const uint8_t* p1 = in[1] + offset;
    const uint8_t* p2 = in[2] + offset;
    const uint8_t* p3 = in[3] + offset;
    const int16_t* w = axis.split(i);
    Sum s0 = {zero, zero}, s1 = {zero, zero}, s2 = {zero, zero}, s3 = {zero, zero};
    for (int g = axis.groups(i); g > 0; --g) {
      const __m256i weights = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
      const __m256i high = _mm256_permutevar8x32_epi32(weights, pick_high);
      const __m256i low = _mm256_permutevar8x32_epi32(weights, pick_low);
      AddGroup(p0, order, high, low, &s0);
      AddGroup(p1, order, high, low, &s1);
      AddGroup(p2, order, high, low, &s2);
      AddGroup(p3, order, high, low, &s3);
      w += 2 * kPilGroup;
      p0 += 3 * kPilGroup;
      p1 += 3 * kPilGroup;
      p2 += 3 * kPilGroup;
      p3 += 3 * kPilGroup;
    }
    const __m128i packed =
        _mm_packus_epi16(_mm_packs_epi32(Finish(s0), Finish(s1)), _mm_packs_epi32(Finish(s2), Finish(s3)));
    alignas(16) uint8_t rgbx[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(rgbx), packed);
    for (int row = 0; row < PilKernels::kRows; ++row) std::memcpy(out[row] + 3 * i, rgbx + 4 * row, 4);
  }
}

// 32 columns of one output row.
EMBEDD_AVX2 inline void Column(const uint8_t* in, int64_t stride, const int16_t* w, int taps, uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  Sum s0 = {zero, zero}, s1 = {zero, zero}, s2 = {zero, zero}, s3 = {zero, zero};
  for (int t = 0; t < taps; t += 2) {
    const int16_t* pair = w + t / kPilGroup * 2 * kPilGroup + t % kPilGroup;
    int32_t high_pair, low_pair;
    std::memcpy(&high_pair, pair, 4);
    std::memcpy(&low_pair, pair + kPilGroup, 4);
    const __m256i high = _mm256_set1_epi32(high_pair);
    const __m256i low = _mm256_set1_epi32(low_pair);
    const uint8_t* next = t + 1 < taps ? in + stride : in;  // the padding weight is zero
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(next));
    const __m256i ab_low = _mm256_unpacklo_epi8(a, b);
    const __m256i ab_high = _mm256_unpackhi_epi8(a, b);
    const __m256i c0 = _mm256_unpacklo_epi8(ab_low, zero), c1 = _mm256_unpackhi_epi8(ab_low, zero);
    const __m256i c2 = _mm256_unpacklo_epi8(ab_high, zero), c3 = _mm256_unpackhi_epi8(ab_high, zero);
    s0.high = _mm256_add_epi32(s0.high, _mm256_madd_epi16(c0, high));
    s0.low = _mm256_add_epi32(s0.low, _mm256_madd_epi16(c0, low));
    s1.high = _mm256_add_epi32(s1.high, _mm256_madd_epi16(c1, high));
    s1.low = _mm256_add_epi32(s1.low, _mm256_madd_epi16(c1, low));
    s2.high = _mm256_add_epi32(s2.high, _mm256_madd_epi16(c2, high));
    s2.low = _mm256_add_epi32(s2.low, _mm256_madd_epi16(c2, low));
    s3.high = _mm256_add_epi32(s3.high, _mm256_madd_epi16(c3, high));
    s3.low = _mm256_add_epi32(s3.low, _mm256_madd_epi16(c3, low));
    in += 2 * stride;
  }
  const __m256i round = _mm256_set1_epi32(kPilRound);
  const __m256i r0 = _mm256_srai_epi32(_mm256_add_epi32(Join(s0.high, s0.low), round), kPilBits);
  const __m256i r1 = _mm256_srai_epi32(_mm256_add_epi32(Join(s1.high, s1.low), round), kPilBits);
  const __m256i r2 = _mm256_srai_epi32(_mm256_add_epi32(Join(s2.high, s2.low), round), kPilBits);
  const __m256i r3 = _mm256_srai_epi32(_mm256_add_epi32(Join(s3.high, s3.low), round), kPilBits);
  const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(r0, r1), _mm256_packs_epi32(r2, r3));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
}

EMBEDD_AVX2 void Vertical(const uint8_t* in, int64_t stride, const PilAxis& axis, int i, int64_t bytes,
                          uint8_t* out) {
  constexpr int64_t kWidth = 32;
  if (bytes < kWidth) {
    PortablePilKernels().vertical(in, stride, axis, i, bytes, out);
    return;
  }
  const int16_t* w = axis.split(i);
  const int taps = axis.taps(i);
  for (int64_t j = 0; j + kWidth <= bytes; j += kWidth) Column(in + j, stride, w, taps, out + j);
  // The rest once more from the end: it overlaps columns that are done, and gives them the same bytes.
  if (bytes % kWidth != 0) Column(in + bytes - kWidth, stride, w, taps, out + bytes - kWidth);
}

EMBEDD_AVX2 inline __m128i Gather(__m128i a, __m128i b, __m128i c, __m128i from_a, __m128i from_b,
                                  __m128i from_c) {
  return _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, from_a), _mm_shuffle_epi8(b, from_b)),
                      _mm_shuffle_epi8(c, from_c));
}

EMBEDD_AVX2 void Planar(const uint8_t* rgb, int width, uint8_t* r, uint8_t* g, uint8_t* b) {
  const __m128i r0 = _mm_setr_epi8(0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m128i r1 = _mm_setr_epi8(-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1);
  const __m128i r2 = _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13);
  const __m128i g0 = _mm_setr_epi8(1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m128i g1 = _mm_setr_epi8(-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1);
  const __m128i g2 = _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14);
  const __m128i b0 = _mm_setr_epi8(2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m128i b1 = _mm_setr_epi8(-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1);
  const __m128i b2 = _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15);
  int x = 0;
  for (; x + 16 <= width; x += 16, rgb += 48) {
    const __m128i p0 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb));
    const __m128i p1 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 16));
    const __m128i p2 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 32));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(r + x), Gather(p0, p1, p2, r0, r1, r2));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(g + x), Gather(p0, p1, p2, g0, g1, g2));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(b + x), Gather(p0, p1, p2, b0, b1, b2));
  }
  PortablePilKernels().planar(rgb, width - x, r + x, g + x, b + x);
}

}  // namespace

const PilKernels* Avx2PilKernels() {
  static constexpr PilKernels kKernels = {"avx2", Horizontal, Vertical, Planar};
  return __builtin_cpu_supports("avx2") ? &kKernels : nullptr;
}

}  // namespace embedd

#else

namespace embedd {
const PilKernels* Avx2PilKernels() { return nullptr; }
}  // namespace embedd

#endif
