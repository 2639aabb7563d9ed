// SPDX-License-Identifier: Apache-2.0
//
// What the kernels compute of a row of numbers in vector registers: softmax for attention, GELU.

#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

namespace embedd {

// Vectors of GCC and Clang.
typedef float Floats8 __attribute__((vector_size(32)));
typedef float Floats16 __attribute__((vector_size(64)));
typedef int32_t Ints8 __attribute__((vector_size(32)));
typedef int32_t Ints16 __attribute__((vector_size(64)));

// x = exp(x) of -87 to 87, after Cephes (Moshier, expf): at most 2 units in the last place off. Floats, and
// Ints of the same length, should fit a register of the function that this stands in.
template <typename Floats, typename Ints>
__attribute__((always_inline)) inline void Exp(Floats& x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const Floats shifted = x * 1.44269504088896341f + kRound, n = shifted - kRound;
  const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Floats y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * (r * r) + r + 1.0f;
  x = y * (Floats)(((Ints)shifted << 23) + 0x3F800000);
}

// x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3): GELU by tanh (Hendrycks and Gimpel,
// arXiv:1606.08415), since 1 + tanh(u) is 2 / (1 + exp(-2 u)).
template <typename Floats, typename Ints>
__attribute__((always_inline)) inline void GeluTanh(Floats& x) {
  const Floats most = Floats{} + 87.0f;
  Floats minus_2u = x * (x * x * -0.0713548162726f - 1.59576912160573f);
  minus_2u = minus_2u > most ? most : minus_2u;
  minus_2u = minus_2u < -most ? -most : minus_2u;
  Exp<Floats, Ints>(minus_2u);
  x /= minus_2u + 1.0f;
}

// The same of row[0, count) in place.
template <typename Floats, typename Ints>
__attribute__((always_inline)) inline void GeluTanhRow(float* row, int64_t count) {
  constexpr int64_t kLanes = sizeof(Floats) / sizeof(float);
  const int64_t whole = count / kLanes * kLanes;
  Floats x = {};
  for (int64_t i = 0; i < whole; i += kLanes) {
    std::memcpy(&x, row + i, sizeof(x));
    GeluTanh<Floats, Ints>(x);
    std::memcpy(row + i, &x, sizeof(x));
  }
  const size_t rest = static_cast<size_t>(count - whole) * sizeof(float);
  std::memcpy(&x, row + whole, rest);
  GeluTanh<Floats, Ints>(x);
  std::memcpy(row + whole, &x, rest);
}

// Softmax of scale * row[0, count) in place, scale > 0. What lies behind it is overwritten up to a whole
// vector.
template <typename Floats, typename Ints>
__attribute__((always_inline)) inline void SoftmaxRow(float* row, int64_t count, float scale) {
  constexpr int64_t kLanes = sizeof(Floats) / sizeof(float);
  const Floats least = Floats{} - 87.0f;  // exp is below 2^-125 there: padding adds nothing that counts
  const int64_t end = (count + kLanes - 1) / kLanes * kLanes;
  for (int64_t i = count; i < end; ++i) row[i] = -std::numeric_limits<float>::infinity();

  Floats most, sums = {}, x;
  std::memcpy(&most, row, sizeof(most));
  for (int64_t i = kLanes; i < end; i += kLanes) {
    std::memcpy(&x, row + i, sizeof(x));
    most = x > most ? x : most;
  }
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) most[i] = most[i] > most[i + half] ? most[i] : most[i + half];
  }
  const float greatest = most[0];

  for (int64_t i = 0; i < end; i += kLanes) {
    std::memcpy(&x, row + i, sizeof(x));
    x = (x - greatest) * scale;
    x = x < least ? least : x;
    Exp<Floats, Ints>(x);
    sums += x;
    std::memcpy(row + i, &x, sizeof(x));
  }
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  const float factor = 1 / sums[0];
  for (int64_t i = 0; i < end; i += kLanes) {
    std::memcpy(&x, row + i, sizeof(x));
    x *= factor;
    std::memcpy(row + i, &x, sizeof(x));
  }
}

}  // namespace embedd
