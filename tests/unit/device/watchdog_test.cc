// SPDX-License-Identifier: Apache-2.0

#include "server/device/watchdog.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "server/support/clock.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Work may take ten times what is expected, and 30 s at least") {
  CHECK(Watchdog::AllowedTime(absl::Milliseconds(50)) == absl::Seconds(30));
  CHECK(Watchdog::AllowedTime(absl::ZeroDuration()) == absl::Seconds(30));
  CHECK(Watchdog::AllowedTime(absl::Seconds(5)) == absl::Seconds(50));
}

// One device, on a clock that the test moves.
struct Rig {
  explicit Rig(bool with_cpu_time = false) {
    Watchdog::Watched device{.work =
                                 [this] {
                                   const bool idle = started == absl::InfinitePast();
                                   return Watchdog::Work{
                                       .since = idle ? absl::ZeroDuration() : clock.TimeNow() - started,
                                       .allowed = allowed};
                                 },
                             .on_hang = [this] { ++hangs; }};
    if (with_cpu_time) device.cpu_time = [this] { return cpu_time; };
    watchdog = std::make_unique<Watchdog>(std::vector<Watchdog::Watched>{device}, absl::Hours(1));
  }
  // False once it hangs.
  bool FineAfter(absl::Duration time, absl::Duration cpu = absl::ZeroDuration()) {
    clock.AdvanceTime(time);
    cpu_time += cpu;
    watchdog->Look();
    return hangs == 0;
  }

  SimulatedClock clock;
  absl::Time started = absl::InfinitePast();
  absl::Duration allowed = Watchdog::AllowedTime(absl::Seconds(4));
  absl::Duration cpu_time = absl::Seconds(7);
  int hangs = 0;
  std::unique_ptr<Watchdog> watchdog;
};

TEST_CASE("What takes longer than it may hangs, and that is told once") {
  Rig rig;
  CHECK(rig.FineAfter(absl::Hours(10)));  // idle
  rig.started = rig.clock.TimeNow();
  CHECK(rig.FineAfter(absl::Seconds(40)));
  CHECK_FALSE(rig.FineAfter(absl::Seconds(1)));
  rig.FineAfter(absl::Seconds(100));
  CHECK(rig.hangs == 1);
}

TEST_CASE("What ended in time does not count for the next piece of work") {
  Rig rig;
  for (int i = 0; i < 10; ++i) {
    rig.started = rig.clock.TimeNow();
    CHECK(rig.FineAfter(absl::Seconds(39)));
  }
}

TEST_CASE("On the processor work that is starved is not hung; what gets nothing or never ends is") {
  Rig rig(/*with_cpu_time=*/true);
  rig.allowed = absl::Seconds(30);
  rig.started = rig.clock.TimeNow();
  CHECK(rig.FineAfter(absl::Seconds(1), absl::Seconds(1)));
  for (int i = 0; i < 4; ++i) CHECK(rig.FineAfter(absl::Seconds(29), absl::Milliseconds(1)));
  SECTION("it gets nothing any more") {
    CHECK(rig.FineAfter(absl::Seconds(30)));
    CHECK_FALSE(rig.FineAfter(absl::Seconds(1)));
  }
  SECTION("it goes on for ever") {
    CHECK(rig.FineAfter(absl::Seconds(183), absl::Seconds(183)));  // 300 s in all
    CHECK_FALSE(rig.FineAfter(absl::Seconds(1), absl::Seconds(1)));
  }
}

TEST_CASE("Each device is watched by itself") {
  std::vector<int> hung;
  const auto device = [&](int number, absl::Duration since) {
    return Watchdog::Watched{
        .work = [=] { return Watchdog::Work{.since = since, .allowed = absl::Seconds(30)}; },
        .on_hang = [&hung, number] { hung.push_back(number); }};
  };
  Watchdog watchdog(
      {device(0, absl::ZeroDuration()), device(1, absl::Seconds(31)), device(2, absl::Seconds(29))},
      absl::Hours(1));
  watchdog.Look();
  watchdog.Look();
  CHECK(hung == std::vector<int>{1});
}

TEST_CASE("The thread looks by itself; once it is destroyed nobody is asked any more") {
  auto asked = std::make_shared<std::atomic<int>>(0);
  {
    Watchdog watchdog({{.work =
                            [asked] {
                              ++*asked;
                              return Watchdog::Work();
                            },
                        .on_hang = [] {}}},
                      absl::Milliseconds(1));
    while (*asked < 3) std::this_thread::yield();
  }
  CHECK(asked.use_count() == 1);  // the thread and what it was given are gone
}

}  // namespace
}  // namespace embedd
