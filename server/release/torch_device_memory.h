// SPDX-License-Identifier: Apache-2.0
//
// DeviceMemory of a real device: "cpu", "cuda" or "mps", over LibTorch's c10::DeviceAllocator. The
// composition root resolves the device, then creates its memory, before anything else calls LibTorch: the
// limits of mps and cuda are read when their allocators start, and the CPU's allocator must be there before
// the first tensor.

#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "server/release/device_memory.h"
#include "server/telemetry/device_kind.h"

namespace embedd {

// Which of several devices of one kind: on cuda the index of the card, on cpu just a number.
struct DevicePlace {
  int number = 0;
  int of = 1;  // devices of that kind in this process: on cpu they share the machine's memory
};

// The memory of `device` (as ResolveDevice answered), which may hold `limit`
// bytes; 0 takes
//   cpu   0.8 of the machine's memory or of the control group's limit, whichever is smaller, divided by `of`
//   mps   the recommended maximum of Metal, which is also the most there is
//   cuda  0.95 of the card's memory
// On cpu it installs CountingCpuAllocator for the whole process.
// kInvalidArgument: negative limit, kAuto. kUnavailable: the device is not there or does not answer.
absl::StatusOr<std::unique_ptr<DeviceMemory>> CreateTorchDeviceMemory(DeviceKind device, int64_t limit,
                                                                      DevicePlace place = {});

}  // namespace embedd
