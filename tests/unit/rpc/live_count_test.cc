// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/live_count.h"

#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Calls that entered and did not leave are live") {
  LiveCount count;
  count.Enter();
  count.Enter();
  count.Leave();
  CHECK(count.live() == 1);
  CHECK(count.entered() == 2);
}

TEST_CASE("Waiting for none returns at once when none is live") {
  LiveCount count;
  SimulatedClock clock;
  CHECK(count.WaitUntilNone(absl::ZeroDuration(), clock));
  count.Enter();
  count.Leave();
  CHECK(count.WaitUntilNone(absl::ZeroDuration(), clock));
}

TEST_CASE("Waiting for none gives up when its time is over") {
  LiveCount count;
  count.Enter();
  SimulatedClock clock;
  CHECK_FALSE(count.WaitUntilNone(absl::ZeroDuration(), clock));
  CHECK_FALSE(count.WaitUntilNone(absl::Milliseconds(1), *Clock::Real()));
  CHECK(count.live() == 1);
}

TEST_CASE("Waiting for quiet takes as long as nobody comes, and ends at its limit while a call is live") {
  LiveCount count;
  const absl::Time start = absl::Now();
  count.WaitUntilQuiet(absl::Milliseconds(5), absl::Hours(1), *Clock::Real());
  const absl::Time then = absl::Now();
  CHECK(then - start >= absl::Milliseconds(5));
  count.Enter();
  count.WaitUntilQuiet(absl::Milliseconds(1), absl::Milliseconds(20), *Clock::Real());
  CHECK(absl::Now() - then >= absl::Milliseconds(20));
  CHECK(count.live() == 1);
}

TEST_CASE("Waiting for none ends when the last of many threads leaves") {
  LiveCount count;
  for (int i = 0; i < 4; ++i) count.Enter();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { count.Leave(); });
  CHECK(count.WaitUntilNone(absl::InfiniteDuration(), *Clock::Real()));
  CHECK(count.live() == 0);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace embedd
