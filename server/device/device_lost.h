// SPDX-License-Identifier: Apache-2.0
//
// What everybody is told whose work was with a device that is lost.

#pragma once

#include "absl/status/status.h"
#include "server/telemetry/reason.h"

namespace embedd {

inline absl::Status DeviceLost() {
  return ReasonError(Reason::kDeviceFailed, "the device was lost; try again");
}

}  // namespace embedd
