// SPDX-License-Identifier: Apache-2.0

#include "server/device/device_thread.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

// Lets one thread wait for another.
class Gate {
 public:
  void Open() {
    MutexLock lock(&mu_);
    open_ = true;
    changed_.SignalAll();
  }
  void Wait() {
    MutexLock lock(&mu_);
    while (!open_) changed_.Wait(&mu_);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

TEST_CASE("Everything runs on one and the same thread, in the order posted") {
  std::vector<int> order;
  std::vector<std::thread::id> ids;
  {
    DeviceThread device(Clock::Real());
    for (int i = 0; i < 100; ++i) {
      CHECK(device.Post([&, i] {
        order.push_back(i);
        ids.push_back(std::this_thread::get_id());
      }));
    }
  }  // what was posted runs before the thread ends
  REQUIRE(order.size() == 100);
  for (int i = 0; i < 100; ++i) {
    CHECK(order[i] == i);
    CHECK(ids[i] == ids[0]);
  }
  CHECK(ids[0] != std::this_thread::get_id());
}

TEST_CASE("Run waits until the work is done") {
  DeviceThread device(Clock::Real());
  bool done = false;
  CHECK(device.Run([&] { done = true; }));
  CHECK(done);
}

TEST_CASE("Many threads may post and wait, and one piece of work runs at a time") {
  DeviceThread device(Clock::Real());
  int unguarded = 0;  // only the device thread touches it
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) device.Run([&] { ++unguarded; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  int seen = 0;
  device.Run([&] { seen = unguarded; });
  CHECK(seen == 400);
}

TEST_CASE("After the stop nothing is taken any more, and nobody waits for ever") {
  DeviceThread device(Clock::Real());
  device.Stop();
  device.Stop();
  auto held = std::make_shared<int>(0);
  CHECK_FALSE(device.Post([held] { ++*held; }));
  CHECK_FALSE(device.Run([held] { ++*held; }));
  CHECK(*held == 0);
  CHECK(held.use_count() == 1);  // what the work held is free
}

TEST_CASE("busy_for is the age of the work that runs now, and zero between two pieces") {
  SimulatedClock clock;
  DeviceThread device(&clock);
  CHECK(device.busy_for() == absl::ZeroDuration());
  Gate started, go_on;
  device.Post([&] {
    started.Open();
    go_on.Wait();
  });
  started.Wait();
  clock.AdvanceTime(absl::Seconds(40));
  CHECK(device.busy_for() == absl::Seconds(40));
  go_on.Open();
  device.Stop();
  CHECK(device.busy_for() == absl::ZeroDuration());
}

TEST_CASE("What a piece of work held is gone before the thread counts as idle") {
  auto held = std::make_shared<int>(0);
  std::weak_ptr<int> watch = held;
  DeviceThread device(Clock::Real());
  device.Post([held = std::move(held)] {});
  bool gone = false;
  device.Run([&] { gone = watch.expired(); });
  CHECK(gone);
}

TEST_CASE(
    "While there is nothing to do the idle action runs, on the device thread, with the time since the last "
    "work") {
  SimulatedClock clock;
  DeviceThread device(&clock);
  std::thread::id device_id;
  device.Run([&] {
    device_id = std::this_thread::get_id();
    clock.AdvanceTime(absl::Seconds(1));
  });
  while (device.busy_for() > absl::ZeroDuration()) std::this_thread::yield();
  clock.AdvanceTime(absl::Seconds(9));
  Gate ran;
  std::atomic<bool> right_thread{false};
  std::atomic<int64_t> idle_seconds{-1};
  device.SetIdleAction(absl::Milliseconds(1), [&](absl::Duration idle) {
    right_thread = std::this_thread::get_id() == device_id;
    idle_seconds = absl::ToInt64Seconds(idle);
    ran.Open();
  });
  ran.Wait();
  CHECK(right_thread);
  CHECK(idle_seconds == 9);
  device.Stop();
}

TEST_CASE("Work posted after the idle action was taken away runs after its last run") {
  DeviceThread device(Clock::Real());
  Gate ran;
  auto resource = std::make_unique<int>(1);
  device.SetIdleAction(absl::Nanoseconds(1), [&](absl::Duration) {
    ++*resource;  // would be a use after free
    ran.Open();
  });
  ran.Wait();
  device.SetIdleAction(absl::InfiniteDuration(), nullptr);
  device.Run([&] { resource.reset(); });
  device.Run([] {});
  CHECK(resource == nullptr);
}

}  // namespace
}  // namespace embedd
