// SPDX-License-Identifier: Apache-2.0
//
// BatchMemory: the scope of one device batch. Reads the allocated bytes before it, follows the peak, and at
// its end reads them again: what the batch took must be back. Trimming the allocator's cache is another
// decision (ReleasePolicy); the two are never mixed. Used by the device thread only.

#pragma once

#include <cstdint>

#include "server/release/device_memory.h"

namespace embedd {

// Allocated bytes of the device around one batch.
struct BatchBytes {
  int64_t before = 0;
  int64_t peak = 0;
  int64_t after = 0;

  // Given back at the end.
  int64_t released() const { return peak - after; }
  // Kept: must be 0.
  int64_t unreleased() const { return after > before ? after - before : 0; }
};

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
