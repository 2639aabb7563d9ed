// SPDX-License-Identifier: Apache-2.0

#include "tests/support/fake_device_memory.h"

#include <algorithm>
#include <limits>

#include "server/release/memory_sanity.h"

namespace embedd {

FakeDeviceMemory::FakeDeviceMemory() : FakeDeviceMemory(Options{}) {}

FakeDeviceMemory::FakeDeviceMemory(Options options)
    : options_(options), heaps_({.recommended = options.recommended, .high_ratio = 1.0, .low_ratio = 0.9}) {
  (void)ChangeLimit(options.limit > 0 ? options.limit : options.recommended);
}

absl::StatusOr<FakeDeviceMemory::BlockId> FakeDeviceMemory::Allocate(int64_t bytes) {
  if (bytes <= 0) return absl::InvalidArgumentError("a block has at least one byte");
  if (allocations_to_fail_ > 0) {
    --allocations_to_fail_;
    return absl::ResourceExhaustedError("MPS backend out of memory (scripted)");
  }
  const BlockId id = heaps_.Allocate(bytes);
  if (id == 0) return absl::ResourceExhaustedError(heaps_.FailureMessage());
  return id;
}

void FakeDeviceMemory::Free(BlockId block) {
  if (frees_to_lose_ > 0) {
    --frees_to_lose_;
    return;
  }
  heaps_.Free(block);
}

void FakeDeviceMemory::Leak(int64_t bytes) { (void)heaps_.Allocate(bytes); }

void FakeDeviceMemory::UpdateOther() {
  int64_t total = other_;
  for (const auto& [shape, bytes] : graphs_) total += bytes;
  heaps_.SetOther(total);
}

void FakeDeviceMemory::SetOtherAllocations(int64_t bytes) {
  other_ = bytes;
  UpdateOther();
}

void FakeDeviceMemory::CompileGraph(const std::string& shape, int64_t bytes) {
  graphs_[shape] = bytes;
  UpdateOther();
}

MemoryReading FakeDeviceMemory::Read() {
  MemoryReading reading;
  reading.allocated = heaps_.allocated();
  reading.reserved = heaps_.heap_bytes();
  reading.driver = static_cast<int64_t>(
      std::min<uint64_t>(heaps_.driver(), static_cast<uint64_t>(std::numeric_limits<int64_t>::max())));
  reading.peak = heaps_.peak();
  reading.limit = limit_;
  reading.recommended = options_.recommended;
  return reading;
}

void FakeDeviceMemory::Trim() {
  ++trims_;
  heaps_.ReleaseCached();
}

void FakeDeviceMemory::DropCompiledGraphs() {
  ++graph_drops_;
  graphs_.clear();
  UpdateOther();
}

absl::Status FakeDeviceMemory::CheckSane() {
  return CheckDriverTotal(heaps_.driver(), heaps_.allocated(), options_.machine_memory);
}

absl::Status FakeDeviceMemory::ChangeLimit(int64_t bytes) {
  if (bytes <= 0) return absl::InvalidArgumentError("a memory limit is at least one byte");
  limit_ = std::min(bytes, options_.recommended);
  const double high = static_cast<double>(limit_) / static_cast<double>(options_.recommended);
  heaps_.SetRatios(high, high * 0.9);
  return absl::OkStatus();
}

}  // namespace embedd
