// SPDX-License-Identifier: Apache-2.0

#include "server/release/torch_allocator_memory.h"

#include <algorithm>
#include <exception>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/release/memory_sanity.h"
#include "server/release/torch_autorelease.h"
#include "server/support/log.h"

namespace embedd {
namespace {

constexpr size_t kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

}  // namespace

std::string Reason(const std::exception& e) {
  const auto* torch = dynamic_cast<const c10::Error*>(&e);
  return torch != nullptr ? torch->what_without_backtrace() : e.what();
}

void AllocatorMemory::Lose(const char* doing, const std::exception& e) {
  if (!lost_.ok()) return;
  lost_ = absl::DataLossError(absl::StrCat("the device failed while ", doing, ": ", Reason(e)));
  LogError("device memory cannot be read any more", {{"error", std::string(lost_.message())}});
}

MemoryReading AllocatorMemory::Read() {
  const AutoreleasePool pool;
  try {
    const auto stats = allocator_->getDeviceStats(static_cast<c10::DeviceIndex>(options_.index));
    last_.allocated = stats.allocated_bytes[kAll].current;
    last_.peak = stats.allocated_bytes[kAll].peak;
    last_.reserved = stats.reserved_bytes[kAll].current;
    const uint64_t driver = DriverTotal(static_cast<uint64_t>(last_.reserved));
    last_.driver = static_cast<int64_t>(std::min<uint64_t>(driver, std::numeric_limits<int64_t>::max()));
  } catch (const std::exception& e) {
    Lose("its counters were read", e);
  }
  last_.limit = options_.limit;
  last_.recommended = options_.recommended;
  return last_;
}

void AllocatorMemory::ResetPeak() {
  try {
    allocator_->resetPeakStats(static_cast<c10::DeviceIndex>(options_.index));
  } catch (const std::exception& e) {
    Lose("its peak was reset", e);
  }
}

void AllocatorMemory::Trim() {
  const AutoreleasePool pool;
  try {
    allocator_->emptyCache();
  } catch (const std::exception& e) {
    Lose("its cache was given back", e);
  }
}

absl::Status AllocatorMemory::CheckSane() {
  const MemoryReading reading = Read();
  if (!lost_.ok()) return lost_;
  return CheckDriverTotal(static_cast<uint64_t>(reading.driver), reading.allocated, options_.machine);
}

absl::Status AllocatorMemory::ChangeLimit(int64_t bytes) {
  if (bytes <= 0) return absl::InvalidArgumentError("a memory limit is at least one byte");
  bytes = std::min(bytes, options_.recommended);
  const absl::Status applied = ApplyLimit(bytes);
  if (applied.ok()) options_.limit = bytes;
  return applied;
}

}  // namespace embedd
