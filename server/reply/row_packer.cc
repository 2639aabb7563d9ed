// SPDX-License-Identifier: Apache-2.0

#include "server/reply/row_packer.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "server/support/sum_of_squares.h"

namespace embedd {
namespace {

static_assert(std::endian::native == std::endian::little, "rows are copied as they lie in memory");

float InverseNorm(absl::Span<const float> row) {
  return static_cast<float>(1.0 / std::fmax(std::sqrt(SumOfSquares(row)), 1e-12));
}

// Not "+ 0.0f": where that becomes one instruction with the product, a product that underflows stays -0.0.
float Scaled(float value, float scale) {
  const float v = value * scale;
  return v == 0.0f ? 0.0f : v;
}

void Write32(absl::Span<const float> row, float scale, char* out) {
  for (size_t i = 0; i < row.size(); ++i) {
    const float v = Scaled(row[i], scale);
    std::memcpy(out + i * 4, &v, 4);
  }
}

// False when a number is too large for the encoding.
bool Write16(absl::Span<const float> row, float scale, char* out) {
  bool fits = true;
  for (size_t i = 0; i < row.size(); ++i) {
    uint16_t half = ToHalf(Scaled(row[i], scale));
    if (half == 0x8000u) half = 0;  // a tiny negative number rounds to -0.0
    fits = fits && (half & 0x7c00u) != 0x7c00u;
    std::memcpy(out + i * 2, &half, 2);
  }
  return fits;
}

}  // namespace

uint16_t ToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) return sign | (magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u);
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {                        // subnormal: the unit is 2^-24
    const float units = std::bit_cast<float>(magnitude) * 16777216.0f;
    return sign | static_cast<uint16_t>(std::nearbyint(units));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

bool PackRow(absl::Span<const float> row, bool normalize, RowEncoding encoding, char* out) {
  const float scale = normalize ? InverseNorm(row) : 1.0f;
  const double squared = SumOfSquares(row) * (static_cast<double>(scale) * scale);
  if (!std::isfinite(squared) || (normalize && std::fabs(squared - 1.0) >= 1e-3)) return false;
  if (encoding == RowEncoding::kFloat16) return Write16(row, scale, out);
  Write32(row, scale, out);
  return true;
}

}  // namespace embedd
