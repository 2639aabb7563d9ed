// SPDX-License-Identifier: Apache-2.0
//
// The memory of an NVIDIA card, without linking CUDA: ResolveDevice has loaded libtorch_cuda by name, its
// allocator is found in c10's table, and the limit travels through c10's allocator settings, which the CUDA
// allocator reads once, when it starts. That is why the limit cannot change later.

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/AllocatorConfig.h>

#include <algorithm>
#include <exception>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/release/torch_allocator_memory.h"
#include "server/support/log.h"

namespace embedd {
namespace {

// CUDA contexts, cuBLAS workspaces and the driver take the rest.
constexpr double kCudaShare = 0.95;

class CudaMemory final : public AllocatorMemory {
 public:
  using AllocatorMemory::AllocatorMemory;

 protected:
  absl::Status ApplyLimit(int64_t) override {
    return absl::UnimplementedError("the memory limit of cuda is fixed at start");
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceMemory>> CreateCudaMemory(int64_t limit, int index) {
  try {
    if (!at::detail::getCUDAHooks().hasCUDA()) {
      return absl::UnavailableError(
          "LibTorch's CUDA library is not loaded, or finds no card; see ResolveDevice");
    }
    auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::DeviceType::CUDA));
    if (allocator == nullptr)
      return absl::UnavailableError("LibTorch's CUDA allocator is not a DeviceAllocator");
    const auto total =
        static_cast<int64_t>(allocator->getMemoryInfo(static_cast<c10::DeviceIndex>(index)).second);
    if (total <= 0) return absl::UnavailableError("the card says it has no memory");
    if (limit > total) {
      LogWarn("--memory-limit is above the card's memory; it is cut to that",
              {{"limit", absl::StrCat(limit)}, {"total", absl::StrCat(total)}});
    }
    const auto usual = static_cast<int64_t>(kCudaShare * static_cast<double>(total));
    const int64_t bytes = limit == 0 ? usual : std::min(limit, total);
    const double fraction = static_cast<double>(bytes) / static_cast<double>(total);
    c10::CachingAllocator::setAllocatorSettings(
        absl::StrFormat("per_process_memory_fraction:%.9f", fraction));
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    return std::make_unique<CudaMemory>(
        allocator,
        AllocatorMemory::Options{.limit = bytes, .recommended = total, .machine = total, .index = index});
  } catch (const std::exception& e) {
    return absl::UnavailableError(absl::StrCat("CUDA does not start: ", Reason(e)));
  }
}

}  // namespace embedd
