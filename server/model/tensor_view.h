// SPDX-License-Identifier: Apache-2.0
//
// TensorView: a tensor as it lies in a weights file. Made by the readers of weights files, read by
// BindWeights, the fingerprint and the weight loader. Plain data; owns nothing.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace embedd {

// kOther: any type that the towers do not compute from (whole numbers, flags, types newer than this server).
// Such a tensor may lie in a file; it is never read.
enum class TensorType { kF64, kF32, kF16, kBF16, kOther };

// 0 for kOther.
int64_t TensorTypeBytes(TensorType type);
// As safetensors spells it: "F32".
absl::string_view TensorTypeName(TensorType type);

// Little-endian elements, not aligned: a file may hold them anywhere.
struct TensorView {
  TensorType type = TensorType::kF32;
  std::string type_name;  // as the file spells it, for messages
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements; empty: row-major without gaps
  const uint8_t* data = nullptr;
  int64_t bytes = 0;  // of all elements; of kOther whatever the file says
};

using TensorMap = std::map<std::string, TensorView>;

// Hands the elements of `view` to `take(data, bytes)` in row-major order, in one piece or in several. `view`
// has a known type.
void ForEachPiece(const TensorView& view, const std::function<void(const uint8_t*, size_t)>& take);

// The first element of `view`, which has a known type and at least one.
double ScalarValue(const TensorView& view);

}  // namespace embedd
