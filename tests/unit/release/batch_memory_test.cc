// SPDX-License-Identifier: Apache-2.0

#include "server/release/batch_memory.h"

#include "tests/support/catch.h"
#include "tests/support/fake_executor.h"

namespace embedd {
namespace {

TEST_CASE("The scope of a batch tells what was there before, the most that was taken, and what is left") {
  CountingMemory memory;
  REQUIRE(memory.Allocate(1000).ok());
  BatchMemory scope(&memory);
  REQUIRE(memory.Allocate(300).ok());
  REQUIRE(memory.Allocate(200).ok());
  memory.Free(500);
  const BatchBytes bytes = scope.End();
  CHECK(bytes.before == 1000);
  CHECK(bytes.peak == 1500);
  CHECK(bytes.after == 1000);
  CHECK(bytes.released() == 500);
  CHECK(bytes.unreleased() == 0);
}

TEST_CASE("The peak is that of this batch, not of an earlier one") {
  CountingMemory memory;
  REQUIRE(memory.Allocate(9000).ok());
  memory.Free(9000);
  BatchMemory scope(&memory);
  REQUIRE(memory.Allocate(10).ok());
  memory.Free(10);
  CHECK(scope.End().peak == 10);
}

TEST_CASE("What a batch keeps is unreleased") {
  CountingMemory memory;
  BatchMemory scope(&memory);
  REQUIRE(memory.Allocate(500).ok());
  memory.Free(460);
  CHECK(scope.End().unreleased() == 40);
  CHECK(BatchBytes{.before = 10, .peak = 10, .after = 4}.unreleased() == 0);  // less than before is no debt
}

// An allocator whose peak counter lags behind.
class NoPeak final : public DeviceMemory {
 public:
  MemoryReading Read() override { return {.allocated = allocated}; }
  void ResetPeak() override {}
  void Trim() override {}
  absl::Status CheckSane() override { return absl::OkStatus(); }
  int64_t allocated = 100;
};

TEST_CASE("The peak is never below what was seen") {
  NoPeak memory;
  BatchMemory scope(&memory);
  CHECK(scope.End().peak == 100);
  memory.allocated = 150;
  CHECK(scope.End().peak == 150);
}

}  // namespace
}  // namespace embedd
