// SPDX-License-Identifier: Apache-2.0

#include "server/release/torch_device_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/release/torch_allocator_memory.h"
#include "server/release/torch_cpu_allocator.h"
#include "server/support/cgroup.h"
#include "server/support/log.h"
#include "server/support/process.h"

namespace embedd {
namespace {

// The rest is for the weights' file cache, decoding, and libraries that do not allocate through tensors.
constexpr double kCpuShare = 0.8;

class CpuMemory final : public AllocatorMemory {
 public:
  CpuMemory(CountingCpuAllocator* allocator, Options options)
      : AllocatorMemory(allocator, options), allocator_(allocator) {}

  // Each is called on the device's thread, before it makes a tensor: from then on its tensors count here.
  MemoryReading Read() override {
    allocator_->UseOnThisThread();
    return AllocatorMemory::Read();
  }
  void ResetPeak() override {
    allocator_->UseOnThisThread();
    AllocatorMemory::ResetPeak();
  }
  void Trim() override {
    allocator_->UseOnThisThread();
    AllocatorMemory::Trim();
  }

 protected:
  absl::Status ApplyLimit(int64_t bytes) override {
    allocator_->SetLimit(static_cast<size_t>(bytes));
    return absl::OkStatus();
  }

 private:
  CountingCpuAllocator* const allocator_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceMemory>> CreateCpuMemory(int64_t limit, DevicePlace place) {
  CountingCpuAllocator::Install();
  int64_t machine = MachineMemoryBytes();
  const int64_t group = CgroupMemoryLimit();
  if (group > 0 && (machine == 0 || group < machine)) machine = group;
  if (machine == 0) return absl::UnavailableError("the system does not say how much memory it has");
  const auto recommended = static_cast<int64_t>(kCpuShare * static_cast<double>(machine) / place.of);
  // Asked for by name, more than recommended is allowed, but not more than there is.
  const int64_t most = limit > recommended ? machine : recommended;
  if (limit > most) {
    LogWarn("--memory-limit is above the memory there is; it is cut to that",
            {{"limit", absl::StrCat(limit)}, {"memory", absl::StrCat(most)}});
  }
  const int64_t bytes = limit == 0 ? recommended : std::min(limit, most);
  auto memory = std::make_unique<CpuMemory>(
      &CountingCpuAllocator::Get(place.number),
      AllocatorMemory::Options{.limit = bytes, .recommended = most, .machine = machine});
  if (absl::Status applied = memory->ChangeLimit(bytes); !applied.ok()) return applied;
  return memory;
}

absl::StatusOr<std::unique_ptr<DeviceMemory>> CreateTorchDeviceMemory(DeviceKind device, int64_t limit,
                                                                      DevicePlace place) {
  if (limit < 0) return absl::InvalidArgumentError("--memory-limit is negative");
  switch (device) {
    case DeviceKind::kCpu:
      return CreateCpuMemory(limit, place);
    case DeviceKind::kCuda:
      return CreateCudaMemory(limit, place.number);
    case DeviceKind::kMps:
#ifdef EMBEDD_OLDER_LIBTORCH  // there the MPS allocator is no c10::DeviceAllocator
      return absl::UnavailableError("this build is for scripts/cuda-acceptance, not for a Mac");
#else
      return CreateMpsMemory(limit);
#endif
    case DeviceKind::kAuto:
      break;
  }
  return absl::InvalidArgumentError("auto is not a device that has memory: resolve it first");
}

}  // namespace embedd
