// SPDX-License-Identifier: Apache-2.0

#include "server/reply/row_packer.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace embedd {
namespace {

static_assert(std::endian::native == std::endian::little, "rows are copied as they lie in memory");

float InverseNorm(absl::Span<const float> row) {
  // float32 sums in four lanes are what F.normalize does too; double keeps us nearer to the truth at no cost
  // here.
  double sum = 0;
  for (const float v : row) sum += static_cast<double>(v) * v;
  return static_cast<float>(1.0 / std::fmax(std::sqrt(sum), 1e-12));
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
  double sum = 0;
  float largest = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    // Not "+ 0.0f": where that becomes one instruction with the product, a product that underflows stays
    // -0.0.
    float v = row[i] * scale;
    if (v == 0.0f) v = 0.0f;
    sum += static_cast<double>(v) * v;
    largest = std::fmax(largest, std::fabs(v));
    if (encoding == RowEncoding::kFloat32) {
      std::memcpy(out + i * 4, &v, 4);
    } else {
      uint16_t half = ToHalf(v);
      if (half == 0x8000u) half = 0;  // a tiny negative number rounds to -0.0
      std::memcpy(out + i * 2, &half, 2);
    }
  }
  if (!std::isfinite(sum)) return false;
  if (encoding == RowEncoding::kFloat16 && largest >= 65520.0f) return false;
  return !normalize || std::fabs(sum - 1.0) < 1e-3;
}

}  // namespace embedd
