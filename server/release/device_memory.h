// SPDX-License-Identifier: Apache-2.0
//
// DeviceMemory: what the server asks of a device's allocator. One implementation over c10::DeviceAllocator
// serves cpu (our counting allocator), cuda and mps; FakeDeviceMemory follows the MPS rules for tests. Every
// method is called by the device thread only; others read the published copy (MemoryBoard).

#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace embedd {

// Bytes, read at one moment.
struct MemoryReading {
  int64_t allocated = 0;    // held by live tensors, in the allocator's block sizes
  int64_t reserved = 0;     // held by the allocator: allocated and its cache
  int64_t driver = 0;       // what the driver counts for this process; = reserved where it does not say
  int64_t peak = 0;         // highest allocated since the last ResetPeak
  int64_t limit = 0;        // what the server may hold; 0 = unlimited
  int64_t recommended = 0;  // the device's own recommended maximum; 0 = unknown
};

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  virtual MemoryReading Read() = 0;
  // Starts a new peak at the bytes allocated now.
  virtual void ResetPeak() = 0;
  // Waits for the device and gives the allocator's cache back to the system. Keeps compiled graphs.
  virtual void Trim() = 0;
  // Drops compiled graphs (MPS only; elsewhere nothing): the next batch of each shape compiles again.
  virtual void DropCompiledGraphs() {}
  // OK, or kDataLoss when the counters are garbage (driver total below allocated, or above 16 times the
  // machine's memory): then the device is lost, not full.
  virtual absl::Status CheckSane() = 0;
  // Changes what the server may hold from now on; more than the recommended maximum is cut to it, and tensors
  // that are already there stay. kInvalidArgument for 0 and less; kUnimplemented where the limit is fixed at
  // start (cuda).
  virtual absl::Status ChangeLimit(int64_t bytes) {
    (void)bytes;
    return absl::UnimplementedError("this device's memory limit is fixed at start");
  }
};

}  // namespace embedd
