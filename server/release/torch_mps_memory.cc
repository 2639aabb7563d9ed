// SPDX-License-Identifier: Apache-2.0
//
// The memory of Apple's GPU. LibTorch's own default lets a process take 1.7 times what Metal recommends,
// which is more than the machine has: it swaps long before it refuses. Here both watermarks are set, to at
// most 1.0, before the allocator starts. Trimming goes to the allocator and keeps compiled graphs;
// MPSHooks::emptyCache drops those too.

#include <ATen/detail/MPSHooksInterface.h>
#include <ATen/mps/MPSAllocatorInterface.h>

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "absl/strings/str_cat.h"
#include "server/release/torch_allocator_memory.h"
#include "server/release/torch_autorelease.h"
#include "server/support/log.h"
#include "server/support/process.h"

namespace embedd {
namespace {

constexpr const char* kHighVariable = "PYTORCH_MPS_HIGH_WATERMARK_RATIO";
constexpr const char* kLowVariable = "PYTORCH_MPS_LOW_WATERMARK_RATIO";
// Below the limit by this much the allocator starts to collect cached buffers and stops opening 1 GiB heaps.
constexpr double kLowOfHigh = 0.9;

at::mps::IMPSAllocator* FindAllocator() {
#ifdef __APPLE__
  return at::mps::getIMPSAllocator();
#else
  // Only a fake can be there (tests/fake_mps).
  return dynamic_cast<at::mps::IMPSAllocator*>(c10::GetAllocator(c10::DeviceType::MPS));
#endif
}

class MpsMemory final : public AllocatorMemory {
 public:
  MpsMemory(at::mps::IMPSAllocator* allocator, Options options)
      : AllocatorMemory(allocator, options), allocator_(allocator), recommended_(options.recommended) {}

  void DropCompiledGraphs() override {
    const AutoreleasePool pool;
    try {
      at::detail::getMPSHooks().emptyCache();
    } catch (const std::exception& e) {
      Lose("compiled graphs were dropped", e);
    }
  }

 protected:
  uint64_t DriverTotal(uint64_t) override { return allocator_->getDriverAllocatedMemory(); }

  absl::Status ApplyLimit(int64_t bytes) override {
    const double high = std::min(1.0, static_cast<double>(bytes) / static_cast<double>(recommended_));
    try {
      allocator_->setLowWatermarkRatio(0.0);  // low must never be above high, whichever way both move
      allocator_->setHighWatermarkRatio(high);
      allocator_->setLowWatermarkRatio(high * kLowOfHigh);
    } catch (const std::exception& e) {
      return absl::UnavailableError(absl::StrCat("the MPS allocator refused its limit: ", Reason(e)));
    }
    return absl::OkStatus();
  }

 private:
  at::mps::IMPSAllocator* const allocator_;
  const int64_t recommended_;
};

void SetWatermark(const char* name) {
  const char* old = std::getenv(name);
  if (old != nullptr && std::atof(old) != 1.0) {
    LogWarn("an MPS watermark from the environment is not used; --memory-limit sets the limit",
            {{"variable", name}, {"value", old}});
  }
  setenv(name, "1.0", /*overwrite=*/1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceMemory>> CreateMpsMemory(int64_t limit) {
  const AutoreleasePool pool;
  try {
    if (!at::detail::getMPSHooks().hasMPS()) {
      return absl::UnavailableError("this machine or this LibTorch has no MPS");
    }
    SetWatermark(kHighVariable);
    SetWatermark(kLowVariable);
    at::mps::IMPSAllocator* allocator = FindAllocator();
    if (allocator == nullptr) return absl::UnavailableError("LibTorch has no MPS allocator");
    const auto recommended = static_cast<int64_t>(allocator->getRecommendedMaxMemory());
    if (recommended <= 0) return absl::UnavailableError("Metal recommends no memory at all");
    if (limit > recommended) {
      LogWarn("--memory-limit is above what Metal recommends; it is cut to that",
              {{"limit", absl::StrCat(limit)}, {"recommended", absl::StrCat(recommended)}});
    }
    const int64_t bytes = limit == 0 ? recommended : std::min(limit, recommended);
    auto memory = std::make_unique<MpsMemory>(
        allocator, AllocatorMemory::Options{
                       .limit = bytes, .recommended = recommended, .machine = MachineMemoryBytes()});
    if (absl::Status applied = memory->ChangeLimit(bytes); !applied.ok()) return applied;
    if (absl::Status sane = memory->CheckSane(); !sane.ok()) return sane;
    return memory;
  } catch (const std::exception& e) {
    return absl::UnavailableError(absl::StrCat("MPS does not start: ", Reason(e)));
  }
}

}  // namespace embedd
