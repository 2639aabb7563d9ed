// SPDX-License-Identifier: Apache-2.0
//
// A DeviceMemory that counts nothing, for tests and tools that are not about memory.

#pragma once

#include "server/release/device_memory.h"

namespace embedd {

class NoDeviceMemory final : public DeviceMemory {
 public:
  MemoryReading Read() override { return {.limit = limit}; }
  void ResetPeak() override {}
  void Trim() override { ++trims; }
  absl::Status CheckSane() override { return absl::OkStatus(); }

  int64_t limit = 0;
  int trims = 0;
};

}  // namespace embedd
