// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/admission.h"

#include "server/support/clock.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

// A road on which `waiting` waits and ten images take `ten`.
bool Admitted(absl::Duration left, absl::Duration waiting, absl::Duration ten) {
  SimulatedClock clock;
  Road road;
  road.clock = &clock;
  road.expected_time = [=](const Work& more) { return waiting + ten * more.all() / 10; };
  return !CheckDeadline(road, {.inputs = {{10}}}, clock.TimeNow() + left).has_value();
}

TEST_CASE("A call that nothing is before may use all the time it has") {
  CHECK(Admitted(absl::Milliseconds(1000), absl::ZeroDuration(), absl::Milliseconds(1000)));
  CHECK_FALSE(Admitted(absl::Milliseconds(999), absl::ZeroDuration(), absl::Milliseconds(1000)));
  CHECK_FALSE(Admitted(absl::ZeroDuration(), absl::ZeroDuration(), absl::ZeroDuration()));
}

TEST_CASE("A call behind others is refused when a quarter more waiting would make it late") {
  CHECK(Admitted(absl::Milliseconds(1350), absl::Milliseconds(1000), absl::Milliseconds(100)));
  CHECK_FALSE(Admitted(absl::Milliseconds(1349), absl::Milliseconds(1000), absl::Milliseconds(100)));
}

}  // namespace
}  // namespace embedd
