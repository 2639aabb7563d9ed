// SPDX-License-Identifier: Apache-2.0
//
// WeightsMove: what an operator hears who moves the weights off the device, or back: from the device's thread
// that did it to the rpc stage that answers.

#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/telemetry/reason.h"

namespace embedd {

struct WeightsMove {
  int64_t allocated_before = 0, allocated_after = 0;  // bytes of the device; of several, the sum
  absl::Duration took;                                // of several, the longest
};
// Told once, from any thread. The reason is kNone when the move is OK.
using WeightsMoved = std::function<void(absl::StatusOr<WeightsMove>, Reason)>;

}  // namespace embedd
