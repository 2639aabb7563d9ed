// SPDX-License-Identifier: Apache-2.0

#include "tests/fake_cuda/fake_cuda.h"

#include <c10/util/Exception.h>

#include <cstdlib>
#include <cstring>
#include <utility>

namespace embedd {

FakeCuda& FakeCuda::Get() {
  static FakeCuda* const instance = new FakeCuda;
  return *instance;
}

void* FakeCuda::Allocate(int64_t bytes) {
  if (allocations_left == 0) {
    allocations_left = -1;
    TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ", bytes, " bytes.");
  }
  if (allocations_left > 0) --allocations_left;
  void* const memory = std::malloc(static_cast<size_t>(bytes));
  std::memset(memory, 0x5A, static_cast<size_t>(bytes));  // what was there before
  live_[memory] = bytes;
  live_bytes += bytes;
  return memory;
}

void FakeCuda::Free(void* memory) {
  live_bytes -= live_.at(memory);
  live_.erase(memory);
  std::free(memory);
}

void* FakeCuda::Pin(int64_t bytes) {
  void* const memory = std::malloc(static_cast<size_t>(bytes));
  pinned_[memory] = bytes;
  return memory;
}

void FakeCuda::Unpin(void* memory) {
  pinned_.erase(memory);
  std::free(memory);
}

bool FakeCuda::Inside(const std::map<const void*, int64_t>& blocks, const void* memory) {
  auto next = blocks.upper_bound(memory);
  if (next == blocks.begin()) return false;
  --next;
  return static_cast<const char*>(memory) < static_cast<const char*>(next->first) + next->second;
}

bool FakeCuda::pinned(const void* memory) const { return Inside(pinned_, memory); }

void FakeCuda::Work(std::function<void()> work) {
  ++kernels;
  Wait(Record(stream));
  work();
  if (recording != nullptr) recording->work.push_back(std::move(work));
}

void FakeCuda::CopyLater(void* to, const void* from, int64_t bytes) {
  ++late_copies;
  streams_[stream].pending.push_back({to, from, bytes});
  readings_.push_back({stream, Record(stream).position, from,
                       std::string(static_cast<const char*>(from), static_cast<size_t>(bytes))});
}

void FakeCuda::Run(const Copy& copy) {
  if (!Inside(live_, copy.to)) return mistakes.push_back("a copy wrote into memory that was given back");
  if (!Inside(pinned_, copy.from)) return mistakes.push_back("a copy read pinned memory that was given back");
  std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
}

void FakeCuda::RunUntil(int64_t on, int64_t position) {
  Stream& s = streams_[on];
  for (; s.done < position && !s.pending.empty(); ++s.done) {
    Run(s.pending.front());
    s.pending.pop_front();
  }
}

FakeCuda::Event FakeCuda::Record(int64_t on) const {
  const auto found = streams_.find(on);
  if (found == streams_.end()) return {on, 0};
  return {on, found->second.done + static_cast<int64_t>(found->second.pending.size())};
}

void FakeCuda::Wait(const Event& event) { RunUntil(event.stream, event.position); }

void FakeCuda::WaitOnHost(const Event& event) {
  Wait(event);
  readings_.remove_if([&](const Reading& reading) {
    if (reading.stream != event.stream || reading.position > event.position) return false;
    if (std::memcmp(reading.from, reading.bytes.data(), reading.bytes.size()) != 0)
      mistakes.push_back("pinned memory was written to while it may still be copied");
    return true;
  });
}

void FakeCuda::WaitForAll() {
  for (const auto& [id, s] : streams_) WaitOnHost(Record(id));
}

}  // namespace embedd
