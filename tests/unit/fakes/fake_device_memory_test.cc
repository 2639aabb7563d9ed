// SPDX-License-Identifier: Apache-2.0

#include "tests/support/fake_device_memory.h"

#include <memory>

#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST_CASE("the books are true: allocated, reserved, driver, peak") {
  FakeDeviceMemory memory;
  const auto a = memory.Allocate(9 * kMiB);
  const auto b = memory.Allocate(4 * kMiB);
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  memory.Free(*a);
  const MemoryReading reading = memory.Read();
  CHECK(reading.allocated == 4 * kMiB);
  CHECK(reading.peak == 13 * kMiB);
  CHECK(reading.reserved == 32 * kMiB);
  CHECK(reading.driver == 32 * kMiB);
  memory.ResetPeak();
  CHECK(memory.Read().peak == 4 * kMiB);
}

TEST_CASE("trimming gives the cache back and leaves live blocks alone") {
  FakeDeviceMemory memory;
  const auto kept = memory.Allocate(9 * kMiB);
  const auto dropped = memory.Allocate(200 * kMiB);
  REQUIRE((kept.ok() && dropped.ok()));
  memory.Free(*dropped);
  memory.Trim();
  CHECK(memory.Read().allocated == 9 * kMiB);
  CHECK(memory.Read().reserved == 32 * kMiB);
  CHECK(memory.trims() == 1);
}

TEST_CASE("a limit is at most the recommended maximum and holds from the moment it is changed") {
  FakeDeviceMemory memory({.recommended = 1024 * kMiB, .limit = 4096 * kMiB});
  CHECK(memory.Read().limit == 1024 * kMiB);
  REQUIRE(memory.Allocate(600 * kMiB).ok());
  REQUIRE(memory.ChangeLimit(700 * kMiB).ok());
  const auto refused = memory.Allocate(200 * kMiB);
  CHECK(absl::IsResourceExhausted(refused.status()));
  CHECK(memory.Read().allocated == 600 * kMiB);
  CHECK(memory.Allocate(50 * kMiB).ok());
  CHECK(absl::IsInvalidArgument(memory.ChangeLimit(0)));
}

TEST_CASE("a lost free and a leak stay in the allocated bytes") {
  FakeDeviceMemory memory;
  const auto block = memory.Allocate(2 * kMiB);
  REQUIRE(block.ok());
  memory.LoseFrees(1);
  memory.Free(*block);
  CHECK(memory.Read().allocated == 2 * kMiB);
  memory.Leak(3 * kMiB);
  memory.Trim();
  CHECK(memory.Read().allocated == 5 * kMiB);
}

TEST_CASE("scripted failures come exactly as often as asked for") {
  FakeDeviceMemory memory;
  memory.FailAllocations(2);
  CHECK(absl::IsResourceExhausted(memory.Allocate(1).status()));
  CHECK(absl::IsResourceExhausted(memory.Allocate(1).status()));
  CHECK(memory.Allocate(1).ok());
  CHECK(absl::IsInvalidArgument(memory.Allocate(0).status()));
}

TEST_CASE(
    "compiled graphs are outside the allocator: a trim keeps them, only dropping them frees their bytes") {
  FakeDeviceMemory memory({.recommended = 1024 * kMiB});
  memory.CompileGraph("16x3x224x224", 500 * kMiB);
  memory.CompileGraph("16x3x224x224", 500 * kMiB);  // the same shape is compiled once
  CHECK(memory.Read().driver == 500 * kMiB);
  CHECK_FALSE(memory.Allocate(600 * kMiB).ok());
  memory.Trim();
  CHECK_FALSE(memory.Allocate(600 * kMiB).ok());
  memory.DropCompiledGraphs();
  CHECK(memory.compiled_graphs() == 0);
  CHECK(memory.graph_drops() == 1);
  CHECK(memory.Allocate(600 * kMiB).ok());
}

TEST_CASE("bytes of somebody else shrink what fits") {
  FakeDeviceMemory memory({.recommended = 1024 * kMiB});
  memory.SetOtherAllocations(900 * kMiB);
  CHECK_FALSE(memory.Allocate(200 * kMiB).ok());
  memory.SetOtherAllocations(0);
  CHECK(memory.Allocate(200 * kMiB).ok());
}

TEST_CASE("garbage counters are data loss, a full device is not") {
  FakeDeviceMemory memory({.recommended = 1024 * kMiB});
  memory.SetOtherAllocations(1024 * kMiB);
  CHECK_FALSE(memory.Allocate(1).ok());
  CHECK(memory.CheckSane().ok());
  memory.InjectGarbage();
  CHECK(absl::IsDataLoss(memory.CheckSane()));
}

TEST_CASE("a driver total below the live tensors is data loss too") {
  FakeDeviceMemory memory;
  REQUIRE(memory.Allocate(9 * kMiB).ok());
  memory.SetOtherAllocations(-30 * kMiB);
  CHECK(absl::IsDataLoss(memory.CheckSane()));
}

}  // namespace
}  // namespace embedd
