// SPDX-License-Identifier: Apache-2.0
//
// Checks of what a model gave: on a device that swallows faults a wrong vector is the worst answer.
// Pure functions.

#pragma once

#include "absl/types/span.h"

namespace embedd {

// L2 norm of a row, or a negative number when a value is not finite. Accumulates in double.
double RowNorm(absl::Span<const float> row);

// True when the row can become a unit vector: finite, and its norm is neither zero nor beyond float.
bool RowIsGood(absl::Span<const float> row);

}  // namespace embedd
