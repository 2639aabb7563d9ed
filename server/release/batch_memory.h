// SPDX-License-Identifier: Apache-2.0
//
// BatchMemory: the scope of one device batch. Reads the allocated bytes before it, follows the peak, and at
// its end reads them again: what the batch took must be back. Trimming the allocator's cache is another
// decision (ReleasePolicy); the two are never mixed. Used by the device thread only.

#pragma once

#include <cstdint>

#include "server/release/device_memory.h"
#include "server/telemetry/batch_ledger.h"

namespace embedd {

class BatchMemory {
 public:
  explicit BatchMemory(DeviceMemory* memory);
  BatchMemory(const BatchMemory&) = delete;
  BatchMemory& operator=(const BatchMemory&) = delete;

  // Call after every tensor of the batch is dropped.
  BatchBytes End();

 private:
  DeviceMemory* const memory_;
  int64_t before_;
};

}  // namespace embedd
