// SPDX-License-Identifier: Apache-2.0

#include "tests/support/fake_mps_heaps.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kAlignment = 256;       // of a buffer in a shared heap on Apple silicon
constexpr int64_t kMaxSmall = kMiB;       // up to here the small pool
constexpr int64_t kMinLarge = 10 * kMiB;  // below: a 32 MiB heap
constexpr int64_t kSmallHeap = 8 * kMiB;
constexpr int64_t kLargeHeap = 32 * kMiB;
constexpr int64_t kXLargeHeap = 1024 * kMiB;  // for less than half of it
constexpr int64_t kRoundLarge = 2 * kMiB;     // of a heap for one buffer

enum Pool { kLargePool, kSmallPool, kScalarPool };

int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

int64_t HeapSizeFor(int64_t size, bool pressure) {
  if (size <= kMaxSmall) return kSmallHeap;
  if (size < kMinLarge) return kLargeHeap;
  if (size < kXLargeHeap / 2 && !pressure) return kXLargeHeap;
  return RoundUp(size, kRoundLarge);
}

}  // namespace

int64_t FakeMpsHeaps::Limit(double ratio) const {
  if (ratio == 0.0) return std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(ratio * static_cast<double>(options_.recommended));
}

uint64_t FakeMpsHeaps::driver() const {
  return garbage_ != 0 ? garbage_ : static_cast<uint64_t>(heap_bytes_ + other_);
}

bool FakeMpsHeaps::FitsLimit(int64_t size) const {
  return driver() + static_cast<uint64_t>(size) <= static_cast<uint64_t>(Limit(options_.high_ratio));
}

bool FakeMpsHeaps::UnderPressure() const {
  return driver() >= static_cast<uint64_t>(Limit(options_.low_ratio));
}

void FakeMpsHeaps::SetRatios(double high, double low) {
  options_.high_ratio = high;
  options_.low_ratio = low;
}

int64_t FakeMpsHeaps::SizeOf(int64_t id) const {
  const auto it = buffers_.find(id);
  return it == buffers_.end() ? 0 : it->second.size;
}

int64_t FakeMpsHeaps::Allocate(int64_t bytes, bool scalar) {
  const int64_t size = RoundUp(std::max<int64_t>(bytes, 1), kAlignment);
  const int pool = scalar ? kScalarPool : size <= kMaxSmall ? kSmallPool : kLargePool;
  const bool pressure = pool == kLargePool && UnderPressure();
  int64_t id = ReuseCached(size, pool);
  if (id == 0) {
    if (pressure) CollectGarbage(pool);
    id = OpenBuffer(size, pool, pressure);
  }
  if (id == 0 && ReleaseOneBigEnough(size, pool)) id = OpenBuffer(size, pool, pressure);
  if (id == 0) {
    ReleaseCached();
    id = OpenBuffer(size, pool, pressure);
  }
  if (id == 0) {
    failed_size_ = size;
    return 0;
  }
  Buffer& buffer = buffers_[id];
  buffer.in_use = true;
  allocated_ += buffer.size;
  peak_ = std::max(peak_, allocated_);
  return id;
}

bool FakeMpsHeaps::Free(int64_t id) {
  const auto it = buffers_.find(id);
  if (it == buffers_.end() || !it->second.in_use) return false;
  Buffer& buffer = it->second;
  buffer.in_use = false;
  buffer.freed_at = ++clock_;
  allocated_ -= buffer.size;
  cached_[heaps_[buffer.heap].pool].insert({buffer.size, id});
  return true;
}

int64_t FakeMpsHeaps::RoomiestFit(int64_t size, int pool) const {
  int64_t best = 0, best_free = std::numeric_limits<int64_t>::max();
  for (const auto& [id, heap] : heaps_) {
    if (heap.pool == pool && heap.free >= size && heap.free < best_free) {
      best = id;
      best_free = heap.free;
    }
  }
  return best;
}

int64_t FakeMpsHeaps::ReuseCached(int64_t size, int pool) {
  if (!FitsLimit(size)) return 0;
  auto& cached = cached_[pool];
  const auto it = cached.lower_bound({size, 0});
  if (it == cached.end()) return 0;
  const auto [cached_size, id] = *it;
  if (cached_size <= size + kLargeHeap) {
    cached.erase(it);
    return id;
  }
  // Far too big. Unless another heap has room anyway, its bytes go back to its own heap, to be cut smaller.
  if (RoomiestFit(size, pool) == 0) Release(id, /*keep_heap=*/true);
  return 0;
}

int64_t FakeMpsHeaps::OpenBuffer(int64_t size, int pool, bool pressure) {
  if (!FitsLimit(size)) return 0;
  int64_t heap_id = RoomiestFit(size, pool);
  if (heap_id == 0) {
    heap_id = next_id_++;
    const int64_t total = HeapSizeFor(size, pressure);
    heaps_[heap_id] = {total, total, 0, pool};
    heap_bytes_ += total;
  }
  Heap& heap = heaps_[heap_id];
  heap.free -= size;
  heap.buffers++;
  const int64_t id = next_id_++;
  buffers_[id] = {size, heap_id, false, 0};
  return id;
}

void FakeMpsHeaps::Release(int64_t id, bool keep_heap) {
  const Buffer buffer = buffers_[id];
  Heap& heap = heaps_[buffer.heap];
  cached_[heap.pool].erase({buffer.size, id});
  buffers_.erase(id);
  heap.free += buffer.size;
  heap.buffers--;
  if (heap.buffers == 0 && !keep_heap) {
    heap_bytes_ -= heap.total;
    heaps_.erase(buffer.heap);
  }
}

bool FakeMpsHeaps::ReleaseOneBigEnough(int64_t size, int pool) {
  auto& cached = cached_[pool];
  const auto it = cached.lower_bound({size, 0});
  if (it != cached.end()) {
    Release(it->second, false);
    return true;
  }
  int64_t released = 0;
  while (released < size && !cached.empty()) {
    released += cached.rbegin()->first;
    Release(cached.rbegin()->second, false);
  }
  return released >= size;
}

void FakeMpsHeaps::CollectGarbage(int pool) {
  auto& cached = cached_[pool];
  while (UnderPressure() && !cached.empty()) {
    const auto oldest = std::min_element(cached.begin(), cached.end(), [this](const auto& a, const auto& b) {
      return buffers_.at(a.second).freed_at < buffers_.at(b.second).freed_at;
    });
    Release(oldest->second, false);
  }
}

void FakeMpsHeaps::ReleaseCached() {
  for (auto& cached : cached_) {
    while (!cached.empty()) Release(cached.begin()->second, false);
  }
}

std::string FakeMpsHeaps::FailureMessage() const {
  const uint64_t other = driver() - static_cast<uint64_t>(heap_bytes_);
  std::string text = absl::StrCat(
      "MPS backend out of memory (MPS allocated: ", FormatMemorySize(static_cast<uint64_t>(heap_bytes_)),
      ", other allocations: ", FormatMemorySize(other));
  if (options_.high_ratio > 0.0) {
    absl::StrAppend(&text, ", max allowed: ", FormatMemorySize(static_cast<uint64_t>(high_limit())));
  }
  absl::StrAppend(&text, "). Tried to allocate ", FormatMemorySize(static_cast<uint64_t>(failed_size_)),
                  " on shared pool.");
  if (options_.high_ratio > 0.0) {
    absl::StrAppend(
        &text,
        " Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit for memory allocations (may "
        "cause system failure).");
  }
  return text;
}

std::string FormatMemorySize(uint64_t bytes) {
  const double n = static_cast<double>(bytes);
  if (bytes <= 1024) return absl::StrCat(bytes, " bytes");
  if (bytes <= uint64_t{1} << 20) return absl::StrFormat("%.2f KiB", n / 1024.0);
  if (bytes <= uint64_t{1} << 30) return absl::StrFormat("%.2f MiB", n / 1048576.0);
  return absl::StrFormat("%.2f GiB", n / 1073741824.0);
}

}  // namespace embedd
