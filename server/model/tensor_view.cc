// SPDX-License-Identifier: Apache-2.0

#include "server/model/tensor_view.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace embedd {

int64_t TensorTypeBytes(TensorType type) {
  switch (type) {
    case TensorType::kF64:
      return 8;
    case TensorType::kF32:
      return 4;
    case TensorType::kF16:
    case TensorType::kBF16:
      return 2;
    case TensorType::kOther:
      return 0;
  }
  return 0;
}

absl::string_view TensorTypeName(TensorType type) {
  switch (type) {
    case TensorType::kF64:
      return "F64";
    case TensorType::kF32:
      return "F32";
    case TensorType::kF16:
      return "F16";
    case TensorType::kBF16:
      return "BF16";
    case TensorType::kOther:
      return "other";
  }
  return "?";
}

void ForEachPiece(const TensorView& view, const std::function<void(const uint8_t*, size_t)>& take) {
  if (view.bytes == 0) return;
  if (view.strides.empty()) return take(view.data, static_cast<size_t>(view.bytes));
  // Rows along the last dimension are gathered; the dimensions before it are counted like an odometer.
  const size_t dims = view.shape.size(), size = static_cast<size_t>(TensorTypeBytes(view.type));
  const int64_t columns = view.shape[dims - 1], step = view.strides[dims - 1];
  std::vector<int64_t> at(dims, 0);
  std::vector<uint8_t> row(static_cast<size_t>(columns) * size);
  while (true) {
    int64_t offset = 0;
    for (size_t d = 0; d + 1 < dims; ++d) offset += at[d] * view.strides[d];
    for (int64_t c = 0; c < columns; ++c) {
      std::memcpy(row.data() + static_cast<size_t>(c) * size,
                  view.data + static_cast<size_t>(offset + c * step) * size, size);
    }
    take(row.data(), row.size());
    size_t d = dims - 1;
    while (d > 0 && ++at[d - 1] == view.shape[d - 1]) at[--d] = 0;
    if (d == 0) return;
  }
}

double ScalarValue(const TensorView& view) {
  if (view.type == TensorType::kF64) {
    double value = 0;
    std::memcpy(&value, view.data, sizeof(value));
    return value;
  }
  if (view.type == TensorType::kF32) {
    float value = 0;
    std::memcpy(&value, view.data, sizeof(value));
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, view.data, sizeof(bits));
  if (view.type == TensorType::kBF16) return std::bit_cast<float>(uint32_t{bits} << 16);
  const int exponent = bits >> 10 & 31;
  const double fraction = bits & 1023, sign = bits >> 15 != 0 ? -1 : 1;
  if (exponent == 31) return sign * (fraction == 0 ? INFINITY : NAN);
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024, exponent - 25));
}

}  // namespace embedd
