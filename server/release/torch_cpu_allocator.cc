// SPDX-License-Identifier: Apache-2.0

#include "server/release/torch_cpu_allocator.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/support/log.h"
#include "server/support/process.h"

namespace embedd {
namespace {

constexpr size_t kAlignment = 64;              // a cache line; what AVX-512 loads want
constexpr size_t kMapped = size_t{256} << 10;  // from here on a block is a mapping of its own
constexpr size_t kLargest = size_t{1} << 46;
constexpr size_t kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
// Above the default allocator's priority and that of anything LibTorch registers itself.
constexpr uint8_t kPriority = 100;

#if defined(MADV_HUGEPAGE)
constexpr size_t kHugePage = size_t{2} << 20;

// A mapping that starts at a huge page, and asks for huge pages: a weight is read through hundreds of small
// ones otherwise. A tail that fills none stays in small pages, so nothing is held beyond `size`.
void* MapHuge(size_t size) {
  void* data = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  char* const first = static_cast<char*>(data);
  const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(data) % kHugePage) % kHugePage;
  if (head > 0) munmap(first, head);
  munmap(first + head + size, kHugePage - head);
  madvise(first + head, size, MADV_HUGEPAGE);  // only advice: not every kernel has them
  return first + head;
}
#endif

void* TakeFromSystem(size_t size) {
#if defined(MADV_HUGEPAGE)
  if (size >= kHugePage) return MapHuge(size);
#endif
  if (size >= kMapped) {
    void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    return data == MAP_FAILED ? nullptr : data;
  }
  void* data = nullptr;
  return posix_memalign(&data, kAlignment, size) == 0 ? data : nullptr;
}

void GiveToSystem(void* data, size_t size) {
  if (size >= kMapped) {
    munmap(data, size);
  } else {
    std::free(data);
  }
}

}  // namespace

CountingCpuAllocator& CountingCpuAllocator::Get() {
  static CountingCpuAllocator* const instance = new CountingCpuAllocator;
  return *instance;
}

CountingCpuAllocator& CountingCpuAllocator::Install() {
  c10::SetCPUAllocator(&Get(), kPriority);
  return Get();
}

size_t CountingCpuAllocator::BlockSize(size_t bytes) {
  if (bytes > kLargest) return std::numeric_limits<size_t>::max();
  if (bytes <= 1024) return (bytes + 63) / 64 * 64;
  const size_t step = std::bit_floor(bytes - 1) / 16;  // 16 classes between two powers of two
  return (bytes + step - 1) / step * step;
}

size_t CountingCpuAllocator::ClassOf(size_t block_size) {
  if (block_size <= 1024) return block_size / 64 - 1;
  const size_t floor = std::bit_floor(block_size - 1);
  const size_t doublings = static_cast<size_t>(std::countr_zero(floor)) - 10;
  return 16 + 16 * doublings + (block_size - floor) / (floor / 16) - 1;
}

void CountingCpuAllocator::SetLimit(size_t bytes) {
  MutexLock lock(&mu_);
  limit_ = bytes;
  const auto reserved = static_cast<size_t>(stats_.reserved_bytes[kAll].current);
  if (limit_ != 0 && reserved > limit_) ReleaseCached();
}

size_t CountingCpuAllocator::limit() const {
  MutexLock lock(&mu_);
  return limit_;
}

c10::DataPtr CountingCpuAllocator::allocate(size_t bytes) {
  const c10::Device cpu(c10::DeviceType::CPU);
  if (bytes == 0) return {nullptr, nullptr, &Delete, cpu};
  std::string error;
  void* data = AllocateBlock(bytes, &error);
  TORCH_CHECK_WITH(OutOfMemoryError, data != nullptr, error);
  return {data, data, &Delete, cpu};
}

void* CountingCpuAllocator::AllocateBlock(size_t bytes, std::string* error) {
  const size_t size = BlockSize(bytes);
  MutexLock lock(&mu_);
  void* data = TakeCached(size);
  if (data == nullptr) {
    const auto fits = [this, size]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      const auto reserved = static_cast<size_t>(stats_.reserved_bytes[kAll].current);
      return size <= kLargest && (limit_ == 0 || reserved + size <= limit_);
    };
    if (!fits() && cached_bytes_ > 0) {
      ++stats_.num_alloc_retries;
      ReleaseCached();
    }
    if (!fits()) {
      ++stats_.num_ooms;
      *error = LimitMessage(bytes);
      return nullptr;
    }
    data = TakeFromSystem(size);
    if (data == nullptr && cached_bytes_ > 0) {
      ++stats_.num_alloc_retries;
      ReleaseCached();
      data = TakeFromSystem(size);
    }
    if (data == nullptr) {
      ++stats_.num_ooms;
      *error = absl::StrCat("CPU device memory: the system has no room for ", bytes, " bytes (allocated ",
                            stats_.allocated_bytes[kAll].current, ")");
      return nullptr;
    }
    ++stats_.num_device_alloc;
    stats_.segment[kAll].increase(1);
    stats_.reserved_bytes[kAll].increase(size);
    blocks_[data].size = size;
  }
  Block& block = blocks_[data];
  block.requested = bytes;
  block.in_use = true;
  stats_.allocation[kAll].increase(1);
  stats_.active[kAll].increase(1);
  stats_.allocated_bytes[kAll].increase(size);
  stats_.active_bytes[kAll].increase(size);
  stats_.requested_bytes[kAll].increase(bytes);
  return data;
}

void* CountingCpuAllocator::TakeCached(size_t size) {
  if (size > kLargest) return nullptr;
  std::deque<void*>& cached = cached_[ClassOf(size)];
  if (cached.empty()) return nullptr;
  void* data = cached.back();  // the last one used may still be in the processor's cache
  cached.pop_back();
  cached_bytes_ -= size;
  return data;
}

void CountingCpuAllocator::Delete(void* data) {
  if (data != nullptr) Get().Free(data);
}

void CountingCpuAllocator::Free(void* data) {
  MutexLock lock(&mu_);
  const auto it = blocks_.find(data);
  if (it == blocks_.end() || !it->second.in_use) {
    LogError("a CPU tensor was freed twice, or its memory is not from here");
    std::abort();  // the books are wrong from here on, and so may be the vectors
  }
  Block& block = it->second;
  stats_.allocation[kAll].decrease(1);
  stats_.active[kAll].decrease(1);
  stats_.allocated_bytes[kAll].decrease(block.size);
  stats_.active_bytes[kAll].decrease(block.size);
  stats_.requested_bytes[kAll].decrease(block.requested);
  block.in_use = false;
  block.freed_at = ++clock_;
  const auto reserved = static_cast<size_t>(stats_.reserved_bytes[kAll].current);
  if (block.size > kMaxCachedBytes || (limit_ != 0 && reserved > limit_)) {
    ReturnToSystem(data);
    return;
  }
  while (cached_bytes_ + block.size > kMaxCachedBytes) ReleaseLongestUnused();
  cached_[ClassOf(block.size)].push_back(data);
  cached_bytes_ += block.size;
}

void CountingCpuAllocator::ReturnToSystem(void* data) {
  const auto it = blocks_.find(data);
  const size_t size = it->second.size;
  blocks_.erase(it);
  ++stats_.num_device_free;
  stats_.segment[kAll].decrease(1);
  stats_.reserved_bytes[kAll].decrease(size);
  GiveToSystem(data, size);
}

void CountingCpuAllocator::ReleaseCached() {
  for (std::deque<void*>& cached : cached_) {
    for (void* data : cached) ReturnToSystem(data);
    cached.clear();
  }
  cached_bytes_ = 0;
}

void CountingCpuAllocator::ReleaseLongestUnused() {
  std::deque<void*>* oldest = nullptr;
  uint64_t freed_at = std::numeric_limits<uint64_t>::max();
  for (std::deque<void*>& cached : cached_) {
    if (!cached.empty() && blocks_[cached.front()].freed_at < freed_at) {
      oldest = &cached;
      freed_at = blocks_[cached.front()].freed_at;
    }
  }
  void* data = oldest->front();
  oldest->pop_front();
  cached_bytes_ -= blocks_[data].size;
  ReturnToSystem(data);
}

std::string CountingCpuAllocator::LimitMessage(size_t bytes) const {
  return absl::StrCat("CPU device memory limit reached: tried to allocate ", bytes, " bytes, allocated ",
                      stats_.allocated_bytes[kAll].current, ", limit ", limit_);
}

void CountingCpuAllocator::emptyCache(c10::MempoolId_t) {
  MutexLock lock(&mu_);
  ReleaseCached();
}

c10::CachingDeviceAllocator::DeviceStats CountingCpuAllocator::getDeviceStats(c10::DeviceIndex) {
  MutexLock lock(&mu_);
  return stats_;
}

void CountingCpuAllocator::resetAccumulatedStats(c10::DeviceIndex) {
  MutexLock lock(&mu_);
  for (auto* stat : {&stats_.allocation, &stats_.segment, &stats_.active, &stats_.allocated_bytes,
                     &stats_.reserved_bytes, &stats_.active_bytes, &stats_.requested_bytes}) {
    (*stat)[kAll].reset_accumulated();
  }
  stats_.num_alloc_retries = stats_.num_ooms = stats_.num_device_alloc = stats_.num_device_free = 0;
}

void CountingCpuAllocator::resetPeakStats(c10::DeviceIndex) {
  MutexLock lock(&mu_);
  for (auto* stat : {&stats_.allocation, &stats_.segment, &stats_.active, &stats_.allocated_bytes,
                     &stats_.reserved_bytes, &stats_.active_bytes, &stats_.requested_bytes}) {
    (*stat)[kAll].reset_peak();
  }
}

std::pair<size_t, size_t> CountingCpuAllocator::getMemoryInfo(c10::DeviceIndex) {
  MutexLock lock(&mu_);
  const size_t total = limit_ != 0 ? limit_ : static_cast<size_t>(MachineMemoryBytes());
  const auto allocated = static_cast<size_t>(stats_.allocated_bytes[kAll].current);
  return {total > allocated ? total - allocated : 0, total};
}

}  // namespace embedd
