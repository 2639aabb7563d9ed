// SPDX-License-Identifier: Apache-2.0
//
// RowPacker: turns what a tower gives into what a caller gets: divided by the L2 norm if asked for, -0.0 made
// 0.0, written as little-endian float32 or float16. A row that is not finite in the asked encoding, or whose
// norm is not 1 after dividing, is refused: never a wrong vector. Pure functions.

#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace embedd {

enum class RowEncoding { kFloat32, kFloat16 };

inline size_t BytesPerNumber(RowEncoding encoding) { return encoding == RowEncoding::kFloat32 ? 4 : 2; }

// Writes `row` to out[0 … row.size() * BytesPerNumber). False, with nothing promised about `out`, for a bad
// row.
bool PackRow(absl::Span<const float> row, bool normalize, RowEncoding encoding, char* out);

// IEEE 754 binary16, rounded to nearest, ties to even; overflow gives infinity.
uint16_t ToHalf(float value);

}  // namespace embedd
