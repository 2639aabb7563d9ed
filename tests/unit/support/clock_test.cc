// SPDX-License-Identifier: Apache-2.0

#include "server/support/clock.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The real clock never goes back, and there is one of it") {
  CHECK(Clock::Real() == Clock::Real());
  absl::Time last = Clock::Real()->TimeNow();
  for (int i = 0; i < 10'000; ++i) {
    const absl::Time now = Clock::Real()->TimeNow();
    REQUIRE(now >= last);
    last = now;
  }
}

TEST_CASE("A simulated clock stands still until it is moved, and moves by exactly that") {
  SimulatedClock clock(absl::UnixEpoch() + absl::Seconds(7));
  CHECK(clock.TimeNow() == absl::UnixEpoch() + absl::Seconds(7));
  CHECK(clock.TimeNow() == absl::UnixEpoch() + absl::Seconds(7));
  clock.AdvanceTime(absl::Nanoseconds(3));
  CHECK(clock.TimeNow() == absl::UnixEpoch() + absl::Seconds(7) + absl::Nanoseconds(3));
}

}  // namespace
}  // namespace embedd
