// SPDX-License-Identifier: Apache-2.0

#include "server/device/watchdog.h"

#include <atomic>
#include <vector>

#include "server/support/clock.h"
#include "server/support/log.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("A batch may take ten times what is expected, and 30 s at least") {
  CHECK(Watchdog::AllowedTime(absl::Milliseconds(50)) == absl::Seconds(30));
  CHECK(Watchdog::AllowedTime(absl::ZeroDuration()) == absl::Seconds(30));
  CHECK(Watchdog::AllowedTime(absl::Seconds(5)) == absl::Seconds(50));
}

TEST_CASE("A hanging batch stops serving, and its end brings it back") {
  ConfigureLogging("error", "text");
  SimulatedClock clock;
  StateBoard board;
  board.Set(ServerState::kReady);
  std::vector<bool> told;
  board.Subscribe([&](ServerState, bool serving) { told.push_back(serving); });
  absl::Time started = absl::InfinitePast();
  Watchdog watchdog(
      &board,
      {.busy_for =
           [&] { return started == absl::InfinitePast() ? absl::ZeroDuration() : clock.TimeNow() - started; },
       .allowed = [] { return Watchdog::AllowedTime(absl::Seconds(4)); },
       .interval = absl::Hours(1)});
  clock.AdvanceTime(absl::Hours(10));  // idle: no batch, no alarm
  watchdog.Look();
  CHECK(board.serving());

  started = clock.TimeNow();
  clock.AdvanceTime(absl::Seconds(40));
  watchdog.Look();
  CHECK(board.serving());
  clock.AdvanceTime(absl::Seconds(1));
  watchdog.Look();
  watchdog.Look();
  CHECK_FALSE(board.serving());
  CHECK(board.state() == ServerState::kReady);

  started = absl::InfinitePast();
  watchdog.Look();
  CHECK(board.serving());
  CHECK(told == std::vector<bool>{true, false, true});
  ConfigureLogging("info", "text");
}

TEST_CASE("On the processor a batch that is starved is not hung; one that gets nothing or never ends is") {
  ConfigureLogging("error", "text");
  SimulatedClock clock;
  StateBoard board;
  board.Set(ServerState::kReady);
  const absl::Time started = clock.TimeNow();
  absl::Duration cpu_time = absl::Seconds(7);
  Watchdog watchdog(&board, {.busy_for = [&] { return clock.TimeNow() - started; },
                             .allowed = [] { return absl::Seconds(30); },
                             .cpu_time = [&] { return cpu_time; },
                             .interval = absl::Hours(1)});
  const auto look_after = [&](absl::Duration time, absl::Duration cpu) {
    clock.AdvanceTime(time);
    cpu_time += cpu;
    watchdog.Look();
    return board.serving();
  };
  CHECK(look_after(absl::Seconds(1), absl::Seconds(1)));
  for (int i = 0; i < 4; ++i) CHECK(look_after(absl::Seconds(29), absl::Milliseconds(1)));
  SECTION("it gets nothing any more") {
    CHECK(look_after(absl::Seconds(30), absl::ZeroDuration()));
    CHECK_FALSE(look_after(absl::Seconds(1), absl::ZeroDuration()));
    CHECK(look_after(absl::Seconds(1), absl::Milliseconds(1)));
  }
  SECTION("it goes on for ever") {
    CHECK(look_after(absl::Seconds(183), absl::Seconds(183)));  // 300 s in all
    CHECK_FALSE(look_after(absl::Seconds(1), absl::Seconds(1)));
  }
  ConfigureLogging("info", "text");
}

TEST_CASE("The thread looks by itself, and ends when it is told to") {
  StateBoard board;
  board.Set(ServerState::kReady);
  std::atomic<int> looks{0};
  {
    Watchdog watchdog(&board, {.busy_for =
                                   [&] {
                                     ++looks;
                                     return absl::ZeroDuration();
                                   },
                               .allowed = [] { return absl::Seconds(30); },
                               .interval = absl::Milliseconds(1)});
    while (looks < 3) std::this_thread::yield();
  }
  const int after = looks;
  CHECK(looks == after);
  CHECK(board.serving());
}

}  // namespace
}  // namespace embedd
