// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/retry.h"

#include "tests/support/catch.h"

namespace embedd::client::internal {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);

Failure Unavailable() { return {.status = absl::UnavailableError("gone")}; }
Failure QueueFull() {
  return {.status = FailureWithReason(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", "full")};
}

TEST_CASE("A server that went away and a full queue are tried again; nothing else is") {
  CHECK(MayRetry(Unavailable()));
  CHECK(MayRetry({.status = absl::CancelledError("shut down")}));
  CHECK(MayRetry(QueueFull()));
  CHECK(MayRetry({.status = absl::ResourceExhaustedError("busy"), .pushback = absl::Milliseconds(5)}));
  CHECK_FALSE(MayRetry({.status = absl::ResourceExhaustedError("message larger than max")}));
  CHECK_FALSE(MayRetry({.status = absl::InvalidArgumentError("bad")}));
  CHECK_FALSE(MayRetry({.status = absl::DeadlineExceededError("late")}));
  CHECK_FALSE(MayRetry({.status = absl::UnauthenticatedError("who")}));
}

TEST_CASE("A server that forbids another attempt is obeyed") {
  auto failure = QueueFull();
  failure.retry_forbidden = true;
  Retry retry({.retry_for = absl::Minutes(1)});
  CHECK_FALSE(retry.WaitAfter(failure, kNow, 0.5));
}

TEST_CASE("The wait that the server asks for is kept, and only ever lengthened") {
  auto failure = QueueFull();
  failure.pushback = absl::Milliseconds(400);
  Retry retry({.retry_for = absl::Minutes(1)});
  CHECK(*retry.WaitAfter(failure, kNow, 0) == absl::Milliseconds(400));
  const auto wait = *retry.WaitAfter(failure, kNow, 0.999);
  CHECK(wait > absl::Milliseconds(400));
  CHECK(wait < absl::Milliseconds(481));
}

TEST_CASE("Waits of our own double up to the longest, spread by a fifth either way") {
  Retry retry({.retry_for = absl::Hours(1)});
  absl::Duration expected = absl::Milliseconds(100);
  for (int i = 0; i < 40; ++i) {
    const double chance = i % 2 == 0 ? 0.0 : 0.999;
    const auto wait = retry.WaitAfter(Unavailable(), kNow, chance);
    REQUIRE(wait);
    CHECK(*wait >= expected * 0.799);
    CHECK(*wait <= expected * 1.201);
    expected = std::min(expected * 2, absl::Seconds(5));
  }
}

TEST_CASE("Trying again ends when its time is over, counted from the first refusal") {
  Retry retry({.retry_for = absl::Seconds(10)});
  CHECK(retry.WaitAfter(Unavailable(), kNow, 0.5));
  CHECK(retry.WaitAfter(Unavailable(), kNow + absl::Seconds(9), 0.5));
  CHECK_FALSE(retry.WaitAfter(Unavailable(), kNow + absl::Seconds(10), 0.5));
}

TEST_CASE("With no time to try again the first refusal is the last") {
  Retry retry({.retry_for = absl::ZeroDuration()});
  CHECK_FALSE(retry.WaitAfter(Unavailable(), kNow, 0));
}

TEST_CASE("Where another server can be asked, what one asked for does not hold") {
  Retry retry({.retry_for = absl::Minutes(1), .deadline = kNow + absl::Seconds(1)});
  auto failure = QueueFull();
  failure.pushback = absl::Minutes(10);
  CHECK(*retry.WaitAfter(failure, kNow, 0, absl::ZeroDuration()) == absl::ZeroDuration());
  CHECK(*retry.WaitAfter(failure, kNow, 0, absl::Milliseconds(300)) == absl::Milliseconds(300));
  CHECK_FALSE(retry.WaitAfter(failure, kNow, 0));
  auto going = Unavailable();
  going.retry_forbidden = true;
  CHECK(retry.WaitAfter(going, kNow, 0, absl::ZeroDuration()));
  CHECK_FALSE(retry.WaitAfter(going, kNow, 0));
}

TEST_CASE("A request that ran out of time is sent once more, to another server only") {
  Retry retry({.retry_for = absl::Minutes(1)});
  const Failure late = {.status = absl::DeadlineExceededError("late")};
  CHECK_FALSE(retry.WaitAfter(late, kNow, 0));
  CHECK(retry.WaitAfter(late, kNow, 0, absl::ZeroDuration()));
  CHECK_FALSE(retry.WaitAfter(late, kNow, 0, absl::ZeroDuration()));
}

TEST_CASE("No attempt starts after the deadline of the call") {
  Retry retry({.retry_for = absl::Hours(1), .deadline = kNow + absl::Milliseconds(300)});
  auto failure = QueueFull();
  failure.pushback = absl::Milliseconds(200);
  CHECK(retry.WaitAfter(failure, kNow, 0));
  CHECK_FALSE(retry.WaitAfter(failure, kNow + absl::Milliseconds(200), 0));
}

}  // namespace
}  // namespace embedd::client::internal
