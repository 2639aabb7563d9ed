// SPDX-License-Identifier: Apache-2.0
//
// FakeDeviceMemory: DeviceMemory by the rules of MPS, on any machine, without LibTorch. A fake, not a mock:
// it keeps real books, refuses when its limit is reached, and can be told to leak, to fail and to lose its
// mind. Used by tests of the release policy, of batch bookkeeping and of the scheduler's reaction to out of
// memory. Not thread-safe: the device thread's, like every DeviceMemory.

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "server/release/device_memory.h"
#include "tests/support/fake_mps_heaps.h"

namespace embedd {

class FakeDeviceMemory final : public DeviceMemory {
 public:
  struct Options {
    int64_t machine_memory = int64_t{24} << 30;
    int64_t recommended = int64_t{18186} << 20;  // 17.76 GiB, what Metal says on that machine
    int64_t limit = 0;                           // 0 = recommended; more is cut to it
  };
  using BlockId = int64_t;

  FakeDeviceMemory();  // with the default Options
  explicit FakeDeviceMemory(Options options);

  // What a tensor does. kResourceExhausted carries LibTorch's message for MPS.
  absl::StatusOr<BlockId> Allocate(int64_t bytes);
  void Free(BlockId block);

  // Scripts.
  // Allocates bytes that nobody will free.
  void Leak(int64_t bytes);
  // The next `n` calls of Free are lost: their blocks stay allocated.
  void LoseFrees(int n) { frees_to_lose_ = n; }
  // The next `n` calls of Allocate fail as if memory were full.
  void FailAllocations(int n) { allocations_to_fail_ = n; }
  // Bytes that the driver counts for the process beside the allocator's.
  void SetOtherAllocations(int64_t bytes);
  // A graph compiled for one shape: `bytes` that the driver counts, until DropCompiledGraphs.
  void CompileGraph(const std::string& shape, int64_t bytes);
  // From now on the driver says nonsense: 2^56 bytes and a few, as after fork() on macOS.
  void InjectGarbage() {
    heaps_.SetGarbage((uint64_t{1} << 56) + static_cast<uint64_t>(heaps_.heap_bytes()));
  }

  MemoryReading Read() override;
  void ResetPeak() override { heaps_.ResetPeak(); }
  void Trim() override;
  void DropCompiledGraphs() override;
  absl::Status CheckSane() override;
  absl::Status ChangeLimit(int64_t bytes) override;

  int trims() const { return trims_; }
  int graph_drops() const { return graph_drops_; }
  int compiled_graphs() const { return static_cast<int>(graphs_.size()); }

 private:
  void UpdateOther();

  const Options options_;
  FakeMpsHeaps heaps_;
  std::map<std::string, int64_t> graphs_;
  int64_t other_ = 0;
  int64_t limit_ = 0;
  int frees_to_lose_ = 0;
  int allocations_to_fail_ = 0;
  int trims_ = 0;
  int graph_drops_ = 0;
};

}  // namespace embedd
