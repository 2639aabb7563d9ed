// SPDX-License-Identifier: Apache-2.0
//
// CountingCpuAllocator: the CPU as a device whose memory is counted and limited, like CUDA's and MPS's. It
// implements c10::DeviceAllocator, so one DeviceMemory reads all three. Installed by
// CreateTorchDeviceMemory(kCpu, ...) before LibTorch allocates; from then on every CPU tensor of the process
// comes from here, whichever thread makes or drops it.
//
// Sizes are rounded up to classes (at most 1/16 larger), blocks are aligned to at least 64 bytes and cached
// when freed. Large blocks are mapped from the system one by one, so trimming gives them back at once, and a
// tensor may take any that is large enough: batches of every size share the blocks of the largest. What such
// a block has too much is cut off when memory is short. "Allocated" is the sum of the classes of live
// tensors, "reserved" that, what their blocks have too much, and the cache; both are exact.
//
// The cache is bounded by what batches need: with the tensors of a batch it is at most kCacheShare times the
// highest batch since the last trim. A batch begins where the peak is reset (BatchMemory); loading weights,
// after a trim, is none.
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
#include <optional>
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
  // What batches may hold of the system's memory, cache and tensors, over what the highest batch needed. With
  // less, mixed sizes take memory from the system and give it back all the time.
  static constexpr double kCacheShare = 1.4;

  // Several CPU devices have one each: its own books, cache and limit.
  static constexpr int kMost = 8;

  // Makes them the allocators of CPU tensors, now and for good. Idempotent. Tensors made before stay with the
  // allocator they came from. Returns the first.
  static CountingCpuAllocator& Install();
  // Number `device` of them, 0 to kMost - 1; lives as long as the process, since tensors may outlive
  // everything.
  static CountingCpuAllocator& Get(int device = 0);
  // From now on the tensors of the calling thread come from here. Those of threads that never said so,
  // OpenMP's among them, come from the first one. Whoever frees a block, it goes back to where it came from.
  void UseOnThisThread();

  // Bytes that may be reserved; 0 = no limit. An allocation that would pass it throws c10::OutOfMemoryError
  // after the cache was given back. Below what is allocated now: nothing new fits until enough is freed.
  void SetLimit(size_t bytes);
  size_t limit() const;

  // Bytes of the block that a tensor of `bytes` takes. SIZE_MAX when there is none so large.
  static size_t BlockSize(size_t bytes);

  // c10::Allocator
  c10::DataPtr allocate(size_t bytes) override;
  c10::DeleterFnPtr raw_deleter() const override { return &DeleteAny; }
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
    size_t taken = 0;      // of the class of the tensor that holds it; at most `size`; 0 in the cache
    size_t requested = 0;  // by the tensor that holds it
    uint64_t freed_at = 0;
  };
  using Stats = c10::CachingDeviceAllocator::DeviceStats;

  explicit CountingCpuAllocator(c10::DeleterFnPtr deleter) : deleter_(deleter) {}
  static size_t ClassOf(size_t block_size);
  template <int device>
  static void Delete(void* data) {
    if (data != nullptr) Get(device).Free(data);
  }
  static void DeleteAny(void* data);
  bool Owns(void* data) const;

  void* AllocateBlock(size_t bytes, std::string* error);
  void* NewBlock(size_t size, size_t bytes, std::string* error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Free(void* data);
  void* TakeCached(size_t size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Both: whether there was anything to give back.
  bool ReleaseUnused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool CutToTensors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReleaseCached() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReleaseLongestUnused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Makes room in the share of batches for `size` more from the system.
  void KeepShare(size_t size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t allocated() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t reserved() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReturnToSystem(void* data) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string LimitMessage(size_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const c10::DeleterFnPtr deleter_;
  mutable Mutex mu_;
  std::unordered_map<void*, Block> blocks_ ABSL_GUARDED_BY(mu_);         // live and cached
  std::array<std::deque<void*>, kClasses> cached_ ABSL_GUARDED_BY(mu_);  // front = longest unused
  std::array<uint64_t, (kClasses + 63) / 64> filled_
      ABSL_GUARDED_BY(mu_) = {};  // a bit for each class that has any
  std::optional<int64_t> batch_base_
      ABSL_GUARDED_BY(mu_);                         // allocated outside the batch; none before the first
  int64_t highest_batch_ ABSL_GUARDED_BY(mu_) = 0;  // since the last trim
  size_t cached_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  size_t limit_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t clock_ ABSL_GUARDED_BY(mu_) = 0;
  Stats stats_ ABSL_GUARDED_BY(mu_);
};

}  // namespace embedd
