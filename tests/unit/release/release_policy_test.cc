// SPDX-License-Identifier: Apache-2.0

#include "server/release/release_policy.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Kind = ReleaseKind;

ReleasePolicy Policy(Kind kind) { return ReleasePolicy({.kind = kind}); }

constexpr int64_t kGiB = int64_t{1} << 30;
const MemoryReading kNoCache{.allocated = 3 * kGiB, .reserved = 3 * kGiB, .limit = 4 * kGiB};
const MemoryReading kHalfCache{.allocated = kGiB, .reserved = 3 * kGiB, .limit = 4 * kGiB};
const MemoryReading kSmallCache{.allocated = kGiB, .reserved = 2 * kGiB, .limit = 4 * kGiB};
const MemoryReading kHugeCache{.allocated = kGiB, .reserved = 6 * kGiB};

TEST_CASE("never keeps the cache, whatever its size and however long nothing happens") {
  CHECK_FALSE(Policy(Kind::kNever).TrimAfterBatch(kHugeCache));
  CHECK_FALSE(Policy(Kind::kNever).TrimWhenIdle(kHugeCache, absl::Hours(1)));
}

TEST_CASE("always trims after every batch that leaves a cache") {
  CHECK(Policy(Kind::kAlways).TrimAfterBatch(kSmallCache));
  CHECK_FALSE(Policy(Kind::kAlways).TrimAfterBatch(kNoCache));
}

TEST_CASE("watermark trims after a batch when the cache is a large part of the limit, or large in itself") {
  const ReleasePolicy policy = Policy(Kind::kWatermark);
  CHECK(policy.TrimAfterBatch(kHalfCache));
  CHECK_FALSE(policy.TrimAfterBatch(kSmallCache));  // below 70 % of the limit
  CHECK_FALSE(policy.TrimAfterBatch(kNoCache));
  CHECK_FALSE(
      policy.TrimAfterBatch({.allocated = 2 * kGiB, .reserved = 3 * kGiB, .limit = 4 * kGiB}));  // in use
  CHECK(policy.TrimAfterBatch(kHugeCache));
  CHECK_FALSE(policy.TrimAfterBatch({.allocated = kGiB, .reserved = 4 * kGiB}));  // no limit, cache of 3 GiB
}

TEST_CASE("idle trims after a pause only") {
  const ReleasePolicy policy = Policy(Kind::kIdle);
  CHECK_FALSE(policy.TrimAfterBatch(kHugeCache));
  CHECK_FALSE(policy.TrimWhenIdle(kSmallCache, absl::Seconds(5) - absl::Nanoseconds(1)));
  CHECK(policy.TrimWhenIdle(kSmallCache, absl::Seconds(5)));
  CHECK_FALSE(policy.TrimWhenIdle(kNoCache, absl::Hours(1)));
}

TEST_CASE("watermark trims after a pause too") {
  CHECK(Policy(Kind::kWatermark).TrimWhenIdle(kSmallCache, absl::Seconds(5)));
}

}  // namespace
}  // namespace embedd
