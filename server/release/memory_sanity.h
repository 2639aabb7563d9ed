// SPDX-License-Identifier: Apache-2.0
//
// The one rule that tells a full device from a lost one, shared by every DeviceMemory.

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace embedd {

// kDataLoss when `driver` (what the driver counts for this process) cannot be true: less than the live
// tensors
// (`allocated`), or more than 16 times the machine's memory. A process that used Metal and was forked reads
// about 2^56.
inline absl::Status CheckDriverTotal(uint64_t driver, int64_t allocated, int64_t machine_memory) {
  const bool below = driver < static_cast<uint64_t>(allocated);
  const bool above = machine_memory > 0 && driver / 16 > static_cast<uint64_t>(machine_memory);
  if (!below && !above) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the device's memory counters are garbage: the driver says ",
                                          driver, " bytes, tensors hold ", allocated, ", the machine has ",
                                          machine_memory));
}

}  // namespace embedd
