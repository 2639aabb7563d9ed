// SPDX-License-Identifier: Apache-2.0
//
// AllocatorMemory: what cpu, cuda and mps have in common as DeviceMemory, and how each is made. Only
// torch_device_memory.cc and the files that make one device see it. LibTorch's exceptions end here: after
// one, CheckSane says kDataLoss for good, since an allocator whose counters throw has lost its device.

#pragma once

#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/release/device_memory.h"
#include "server/release/torch_device_memory.h"

namespace embedd {

// What an exception says, without the stack trace that LibTorch's own carry.
std::string Reason(const std::exception& e);

class AllocatorMemory : public DeviceMemory {
 public:
  struct Options {
    int64_t limit = 0;        // > 0
    int64_t recommended = 0;  // > 0
    int64_t machine = 0;      // memory of the machine, or of the card; 0 = unknown
    int index = 0;            // of the card
  };

  // `allocator` lives as long as the process.
  AllocatorMemory(c10::DeviceAllocator* allocator, Options options)
      : allocator_(allocator), options_(options) {}

  MemoryReading Read() override;
  void ResetPeak() override;
  void Trim() override;
  absl::Status CheckSane() override;
  absl::Status ChangeLimit(int64_t bytes) override;

 protected:
  // Bytes that the driver counts for this process; `reserved` where it does not say.
  virtual uint64_t DriverTotal(uint64_t reserved) { return reserved; }
  // Makes the allocator refuse above `bytes`.
  virtual absl::Status ApplyLimit(int64_t bytes) = 0;
  // Remembers that the device threw.
  void Lose(const char* doing, const std::exception& e);

 private:
  c10::DeviceAllocator* const allocator_;
  Options options_;
  MemoryReading last_;
  absl::Status lost_;
};

absl::StatusOr<std::unique_ptr<DeviceMemory>> CreateCpuMemory(int64_t limit, DevicePlace place);
absl::StatusOr<std::unique_ptr<DeviceMemory>> CreateMpsMemory(int64_t limit);
absl::StatusOr<std::unique_ptr<DeviceMemory>> CreateCudaMemory(int64_t limit, int index);

}  // namespace embedd
