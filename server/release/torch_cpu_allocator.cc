// SPDX-License-Identifier: Apache-2.0

#include "server/release/torch_cpu_allocator.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
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

// Where the tensors of this thread come from; null: from the first allocator.
thread_local CountingCpuAllocator* of_this_thread = nullptr;

}  // namespace

CountingCpuAllocator& CountingCpuAllocator::Get(int device) {
  static const auto* const instances = [] {
    return new std::array<CountingCpuAllocator*, kMost>{
        new CountingCpuAllocator(&Delete<0>), new CountingCpuAllocator(&Delete<1>),
        new CountingCpuAllocator(&Delete<2>), new CountingCpuAllocator(&Delete<3>),
        new CountingCpuAllocator(&Delete<4>), new CountingCpuAllocator(&Delete<5>),
        new CountingCpuAllocator(&Delete<6>), new CountingCpuAllocator(&Delete<7>)};
  }();
  return *instances->at(static_cast<size_t>(device));
}

CountingCpuAllocator& CountingCpuAllocator::Install() {
  c10::SetCPUAllocator(&Get(), kPriority);
  return Get();
}

void CountingCpuAllocator::UseOnThisThread() { of_this_thread = this; }

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
  if (limit_ != 0 && static_cast<size_t>(reserved()) > limit_) ReleaseUnused();
}

size_t CountingCpuAllocator::limit() const {
  MutexLock lock(&mu_);
  return limit_;
}

c10::DataPtr CountingCpuAllocator::allocate(size_t bytes) {
  const c10::Device cpu(c10::DeviceType::CPU);
  CountingCpuAllocator& from = of_this_thread != nullptr ? *of_this_thread : *this;
  if (bytes == 0) return {nullptr, nullptr, from.deleter_, cpu};
  std::string error;
  void* data = from.AllocateBlock(bytes, &error);
  TORCH_CHECK_WITH(OutOfMemoryError, data != nullptr, error);
  return {data, data, from.deleter_, cpu};
}

int64_t CountingCpuAllocator::allocated() const { return stats_.allocated_bytes[kAll].current; }
int64_t CountingCpuAllocator::reserved() const { return stats_.reserved_bytes[kAll].current; }

void* CountingCpuAllocator::AllocateBlock(size_t bytes, std::string* error) {
  const size_t size = BlockSize(bytes);
  MutexLock lock(&mu_);
  void* data = TakeCached(size);
  if (data == nullptr) data = NewBlock(size, bytes, error);
  if (data == nullptr) return nullptr;
  Block& block = blocks_[data];
  block.requested = bytes;
  block.taken = size;
  stats_.allocation[kAll].increase(1);
  stats_.active[kAll].increase(1);
  stats_.allocated_bytes[kAll].increase(size);
  stats_.active_bytes[kAll].increase(size);
  stats_.requested_bytes[kAll].increase(bytes);
  if (batch_base_) highest_batch_ = std::max(highest_batch_, allocated() - *batch_base_);
  return data;
}

void* CountingCpuAllocator::NewBlock(size_t size, size_t bytes, std::string* error) {
  const auto fits = [this, size]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return size <= kLargest && (limit_ == 0 || static_cast<size_t>(reserved()) + size <= limit_);
  };
  if (!fits() && ReleaseUnused()) ++stats_.num_alloc_retries;
  if (!fits()) {
    ++stats_.num_ooms;
    *error = LimitMessage(bytes);
    return nullptr;
  }
  KeepShare(size);
  void* data = TakeFromSystem(size);
  if (data == nullptr && ReleaseUnused()) {
    ++stats_.num_alloc_retries;
    data = TakeFromSystem(size);
  }
  if (data == nullptr) {
    ++stats_.num_ooms;
    *error = absl::StrCat("CPU device memory: the system has no room for ", bytes, " bytes (allocated ",
                          allocated(), ")");
    return nullptr;
  }
  ++stats_.num_device_alloc;
  stats_.segment[kAll].increase(1);
  stats_.reserved_bytes[kAll].increase(size);
  blocks_[data].size = size;
  return data;
}

// The smallest that is large enough. Small blocks come from malloc, which would not take back a part of one:
// among them only the class itself will do.
void* CountingCpuAllocator::TakeCached(size_t size) {
  if (size > kLargest) return nullptr;
  const size_t wanted = ClassOf(size);
  size_t found = wanted;
  if (cached_[wanted].empty()) {
    if (size < kMapped) return nullptr;
    size_t word = wanted / 64;
    uint64_t bits = filled_[word] & (~uint64_t{0} << (wanted % 64));
    while (bits == 0) {
      if (++word == filled_.size()) return nullptr;
      bits = filled_[word];
    }
    found = word * 64 + static_cast<size_t>(std::countr_zero(bits));
  }
  std::deque<void*>& cached = cached_[found];
  void* data = cached.back();  // the last one used may still be in the processor's cache
  cached.pop_back();
  if (cached.empty()) filled_[found / 64] &= ~(uint64_t{1} << (found % 64));
  cached_bytes_ -= blocks_[data].size;
  return data;
}

void CountingCpuAllocator::DeleteAny(void* data) {
  if (data == nullptr) return;
  for (int device = 1; device < kMost; ++device) {
    if (Get(device).Owns(data)) return Get(device).Free(data);
  }
  Get().Free(data);
}

bool CountingCpuAllocator::Owns(void* data) const {
  MutexLock lock(&mu_);
  return blocks_.find(data) != blocks_.end();
}

void CountingCpuAllocator::Free(void* data) {
  MutexLock lock(&mu_);
  const auto it = blocks_.find(data);
  if (it == blocks_.end() || it->second.taken == 0) {
    LogError("a CPU tensor was freed twice, or its memory is not from here");
    std::abort();  // the books are wrong from here on, and so may be the vectors
  }
  Block& block = it->second;
  stats_.allocation[kAll].decrease(1);
  stats_.active[kAll].decrease(1);
  stats_.allocated_bytes[kAll].decrease(block.taken);
  stats_.active_bytes[kAll].decrease(block.taken);
  stats_.requested_bytes[kAll].decrease(block.requested);
  block.taken = 0;
  block.freed_at = ++clock_;
  if (batch_base_) batch_base_ = std::min(*batch_base_, allocated());
  if (block.size > kMaxCachedBytes || (limit_ != 0 && static_cast<size_t>(reserved()) > limit_)) {
    ReturnToSystem(data);
    return;
  }
  while (cached_bytes_ + block.size > kMaxCachedBytes) ReleaseLongestUnused();
  const size_t index = ClassOf(block.size);
  cached_[index].push_back(data);
  filled_[index / 64] |= uint64_t{1} << (index % 64);
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

void CountingCpuAllocator::KeepShare(size_t size) {
  if (!batch_base_) return;
  const int64_t more = static_cast<int64_t>(size), base = *batch_base_;
  const int64_t batch = std::max(highest_batch_, allocated() - base + more);
  const auto share = static_cast<int64_t>(kCacheShare * static_cast<double>(batch));
  while (reserved() - base + more > share) {
    if (cached_bytes_ == 0) {
      CutToTensors();
      return;
    }
    ReleaseLongestUnused();
  }
}

bool CountingCpuAllocator::ReleaseUnused() {
  const bool cached = cached_bytes_ > 0;
  ReleaseCached();
  return CutToTensors() || cached;
}

// The end of a mapping may go back while its beginning is in use.
bool CountingCpuAllocator::CutToTensors() {
  bool cut = false;
  if (reserved() == allocated() + static_cast<int64_t>(cached_bytes_)) return cut;
  for (auto& [data, block] : blocks_) {
    if (block.taken == 0 || block.taken == block.size) continue;
    const size_t rest = block.size - block.taken;
    munmap(static_cast<char*>(data) + block.taken, rest);
    stats_.reserved_bytes[kAll].decrease(rest);
    block.size = block.taken;
    cut = true;
  }
  return cut;
}

void CountingCpuAllocator::ReleaseCached() {
  for (std::deque<void*>& cached : cached_) {
    for (void* data : cached) ReturnToSystem(data);
    cached.clear();
  }
  filled_ = {};
  cached_bytes_ = 0;
}

void CountingCpuAllocator::ReleaseLongestUnused() {
  size_t oldest = 0;
  uint64_t freed_at = std::numeric_limits<uint64_t>::max();
  for (size_t word = 0; word < filled_.size(); ++word) {
    for (uint64_t bits = filled_[word]; bits != 0; bits &= bits - 1) {
      const size_t index = word * 64 + static_cast<size_t>(std::countr_zero(bits));
      const uint64_t freed = blocks_[cached_[index].front()].freed_at;
      if (freed < freed_at) {
        oldest = index;
        freed_at = freed;
      }
    }
  }
  std::deque<void*>& cached = cached_[oldest];
  void* data = cached.front();
  cached.pop_front();
  if (cached.empty()) filled_[oldest / 64] &= ~(uint64_t{1} << (oldest % 64));
  cached_bytes_ -= blocks_[data].size;
  ReturnToSystem(data);
}

std::string CountingCpuAllocator::LimitMessage(size_t bytes) const {
  return absl::StrCat("CPU device memory limit reached: tried to allocate ", bytes, " bytes, allocated ",
                      allocated(), ", limit ", limit_);
}

void CountingCpuAllocator::emptyCache(c10::MempoolId_t) {
  MutexLock lock(&mu_);
  ReleaseUnused();
  batch_base_.reset();
  highest_batch_ = 0;
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
  batch_base_ = allocated();
  KeepShare(0);
}

std::pair<size_t, size_t> CountingCpuAllocator::getMemoryInfo(c10::DeviceIndex) {
  MutexLock lock(&mu_);
  const size_t total = limit_ != 0 ? limit_ : static_cast<size_t>(MachineMemoryBytes());
  const auto used = static_cast<size_t>(allocated());
  return {total > used ? total - used : 0, total};
}

}  // namespace embedd
