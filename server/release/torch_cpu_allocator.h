// SPDX-License-Identifier: Apache-2.0
//
// CountingCpuAllocator: the CPU as a device whose memory is counted and limited, like CUDA's and MPS's. It
// implements c10::DeviceAllocator, so one DeviceMemory reads all three. Installed by
// CreateTorchDeviceMemory("cpu", ...) before LibTorch allocates; from then on every CPU tensor of the process
// comes from here, whichever thread makes or drops it.
//
// Blocks are rounded up to size classes (at most 1/16 larger), aligned to at least 64 bytes, and cached by
// class when freed, within a bound. Large blocks are mapped from the system one by one, so trimming gives
// them back at once. "Allocated" is the sum of the classes of live blocks, "reserved" that and the cache;
// both are exact.
//
// Not counted: what libraries take for themselves without a tensor. oneDNN keeps packed weights and scratch
// of its own, OpenMP its stacks, MKL its thread buffers. They show in the process footprint only.
// Thread-safe: OpenMP threads free too.

#pragma once

#include <c10/core/CachingDeviceAllocator.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>

#include "server/support/mutex.h"

namespace embedd {

class CountingCpuAllocator final : public c10::DeviceAllocator {
 public:
  // Bytes of cached blocks beyond which the longest unused goes back to the system. A batch of 64 of ViT-L-14
  // keeps about 0.9 GiB in motion.
  static constexpr size_t kMaxCachedBytes = size_t{1} << 30;

  // Makes `Get()` the allocator of CPU tensors, now and for good. Idempotent. Tensors made before stay with
  // the allocator they came from.
  static CountingCpuAllocator& Install();
  // The one instance; lives as long as the process, since tensors may outlive everything.
  static CountingCpuAllocator& Get();

  // Bytes that may be reserved; 0 = no limit. An allocation that would pass it throws c10::OutOfMemoryError
  // after the cache was given back. Below what is allocated now: nothing new fits until enough is freed.
  void SetLimit(size_t bytes);
  size_t limit() const;

  // Bytes of the block that a tensor of `bytes` takes. SIZE_MAX when there is none so large.
  static size_t BlockSize(size_t bytes);

  // c10::Allocator
  c10::DataPtr allocate(size_t bytes) override;
  c10::DeleterFnPtr raw_deleter() const override { return &Delete; }
  void copy_data(void* dest, const void* src, size_t count) const override {
    default_copy_data(dest, src, count);
  }

  // c10::DeviceAllocator; the device index is ignored. Statistics are under StatType::AGGREGATE.
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t pool = {0, 0}) override;
  void recordStream(const c10::DataPtr&, c10::Stream) override {}  // CPU work is done when the call returns
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override;
  void resetAccumulatedStats(c10::DeviceIndex device) override;
  void resetPeakStats(c10::DeviceIndex device) override;
  // Free and total bytes: of the limit, or of the machine when there is none.
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override;

 private:
  // 16 classes up to 1 KiB, then 16 for each doubling up to 2^46.
  static constexpr size_t kClasses = 16 + 16 * 36;
  struct Block {
    size_t size = 0;       // of its class
    size_t requested = 0;  // by the tensor that holds it
    bool in_use = false;
    uint64_t freed_at = 0;
  };
  using Stats = c10::CachingDeviceAllocator::DeviceStats;

  CountingCpuAllocator() = default;
  static size_t ClassOf(size_t block_size);
  static void Delete(void* data);

  void* AllocateBlock(size_t bytes, std::string* error);
  void Free(void* data);
  void* TakeCached(size_t size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReleaseCached() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReleaseLongestUnused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReturnToSystem(void* data) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string LimitMessage(size_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  std::unordered_map<void*, Block> blocks_ ABSL_GUARDED_BY(mu_);         // live and cached
  std::array<std::deque<void*>, kClasses> cached_ ABSL_GUARDED_BY(mu_);  // front = longest unused
  size_t cached_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  size_t limit_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t clock_ ABSL_GUARDED_BY(mu_) = 0;
  Stats stats_ ABSL_GUARDED_BY(mu_);
};

}  // namespace embedd
