// SPDX-License-Identifier: Apache-2.0
//
// The time of day, for what people and other machines read. It jumps when someone sets it: durations come
// from Clock.

#pragma once

#include "absl/time/time.h"

namespace embedd {

absl::Time WallTime();

}  // namespace embedd
