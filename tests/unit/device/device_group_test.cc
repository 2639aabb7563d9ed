// SPDX-License-Identifier: Apache-2.0
//
// Several devices on one queue, and every way a device ends, over fake executors.

#include "server/device/device_group.h"

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/device_road.h"
#include "tests/support/metric_value.h"
#include "tests/support/quiet_stderr.h"

namespace embedd {
namespace {

constexpr DeviceRoad::Options kTwo{.devices = 2};

void CheckRows(CallToWaitFor& call, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) REQUIRE(call.row(i) == FakeExecutor::FakeRow(static_cast<uint8_t>(i), 4));
}

TEST_CASE("Two devices pull from one queue: while one works the other takes what comes") {
  DeviceRoad road(kTwo);
  REQUIRE(road.group->Start().ok());
  road.StopAtBarrier(0);
  road.StopAtBarrier(1);
  road.barrier.Hold(true);
  auto first = std::make_shared<CallToWaitFor>(1), second = std::make_shared<CallToWaitFor>(1);
  road.Push(first, 0);
  road.barrier.WaitForArrivals(1);
  road.Push(second, 1);
  road.barrier.WaitForArrivals(2);  // both at once
  road.barrier.Hold(false);
  first->Wait();
  second->Wait();
  std::set<std::string> devices;
  std::set<uint64_t> ids;
  for (const BatchRecord& record : road.ledger.Last()) {
    devices.insert(record.device);
    ids.insert(record.id);
  }
  CHECK(devices == std::set<std::string>{"cpu:0", "cpu:1"});
  CHECK(ids == std::set<uint64_t>{1, 2});
}

TEST_CASE("Many images are shared by two devices, and each gets its own row") {
  DeviceRoad road(kTwo);
  REQUIRE(road.group->Start().ok());
  auto call = std::make_shared<CallToWaitFor>(200);
  for (uint32_t i = 0; i < 200; ++i) road.Push(call, i);
  call->Wait();
  CheckRows(*call, 200);
}

TEST_CASE("Each device has its own cap, memory record and series") {
  const QuietStderr quiet;
  DeviceRoad road(kTwo);
  road.LimitToBatchOf(2);  // the first
  REQUIRE(road.group->Start().ok());
  CHECK(road.device(0).batching().cap.images <= 2);
  CHECK(road.device(1).batching().cap.images == 8);
  CHECK(MetricValue(road.metrics, "embedd_batch_cap{device=\"cpu:1\"}") == 8);
  CHECK(MetricValue(road.metrics, "embedd_batch_cap{device=\"cpu:0\"}") <= 2);
  CHECK(road.device(0).memory().view().now.limit > 0);
  CHECK(road.device(1).memory().view().now.limit == 0);
}

TEST_CASE("What two devices do at once takes half the time; one image takes as long as on one") {
  const auto start = [](DeviceRoad& road) {
    for (FakeExecutor* executor : road.executors) {
      executor->SetScript({.on_run = [&road](int, int bucket) {
        road.clock.AdvanceTime(absl::Milliseconds(10 * bucket));
        return absl::OkStatus();
      }});
    }
    REQUIRE(road.group->Start().ok());
  };
  DeviceRoad one, two(kTwo);
  start(one);
  start(two);
  CHECK(absl::ToDoubleMilliseconds(one.Expected(Lane::kBulk, 160)) == Approx(1600));
  CHECK(absl::ToDoubleMilliseconds(two.Expected(Lane::kBulk, 160)) == Approx(800));
  CHECK(absl::ToDoubleMilliseconds(two.Expected(Lane::kBulk, 1)) == Approx(10));
}

TEST_CASE("A device that is lost ends alone; the other one serves on; the last one ends the server") {
  const QuietStderr quiet;
  DeviceRoad road(kTwo);
  REQUIRE(road.group->Start().ok());
  const auto gone = FakeExecutor::Script{.on_run = [](int, int) { return absl::UnavailableError("gone"); }};
  // Both wait for work, and the first one is woken first.
  road.executor(0).SetScript(gone);
  auto unlucky = std::make_shared<CallToWaitFor>(1);
  while (road.device(0).serving()) {
    unlucky = std::make_shared<CallToWaitFor>(1);
    road.Push(unlucky, 0);
    unlucky->Wait();
  }
  CHECK(unlucky->reasons() == std::vector<Reason>{Reason::kDeviceFailed});
  CHECK(road.losses == 0);
  CHECK(road.state.state() == ServerState::kReady);
  auto call = std::make_shared<CallToWaitFor>(100);
  for (uint32_t i = 0; i < 100; ++i) road.Push(call, i);
  call->Wait();
  CheckRows(*call, 100);

  road.executor(1).SetScript(gone);
  auto last = std::make_shared<CallToWaitFor>(1), later = std::make_shared<CallToWaitFor>(1);
  road.Push(last, 0);
  last->Wait();
  while (road.losses == 0) std::this_thread::yield();
  CHECK(road.losses == 1);
  CHECK(road.state.state() == ServerState::kFailed);
  road.Push(later, 0);
  later->Wait();
  CHECK(later->reasons() == std::vector<Reason>{Reason::kDeviceFailed});
}

TEST_CASE("When the device that held the weights is lost, a server whose others hold none is offloaded") {
  const QuietStderr quiet;
  std::atomic<bool> offloaded{false};
  DeviceRoad road(kTwo);
  REQUIRE(road.group->Start().ok());
  road.executor(0).SetScript({.on_run = [&road](int, int) {
    road.barrier.Arrive();
    return absl::UnavailableError("gone");
  }});
  road.barrier.Hold(true);
  auto unlucky = std::make_shared<CallToWaitFor>(1);
  while (road.barrier.arrived() == 0) {  // until the first device takes one
    unlucky = std::make_shared<CallToWaitFor>(1);
    road.Push(unlucky, 0);
    while (road.barrier.arrived() == 0 && unlucky->left() > 0) std::this_thread::yield();
  }
  MoveToWaitFor away;
  road.device(1).Move(false, away.Done());
  away.Wait();
  CHECK(road.state.state() == ServerState::kReady);
  road.state.Subscribe([&](ServerState now, bool) { offloaded = now == ServerState::kOffloaded; });
  road.barrier.Hold(false);
  unlucky->Wait();
  const absl::Time end = Clock::Real()->TimeNow() + absl::Seconds(10);
  while (!offloaded && Clock::Real()->TimeNow() < end) std::this_thread::yield();
  CHECK(offloaded);
  CHECK(road.losses == 0);
}

TEST_CASE("An operator's move asks every device, and the server counts as offloaded when all are") {
  const QuietStderr quiet;
  DeviceRoad road(kTwo);
  REQUIRE(road.group->Start().ok());
  MoveToWaitFor one, all;
  road.device(1).Move(false, one.Done());
  one.Wait();
  CHECK(road.state.state() == ServerState::kReady);
  road.group->Move(false, all.Done());
  all.Wait();
  REQUIRE(all.moved().ok());
  CHECK(all.moved()->allocated_before == 1000);
  CHECK(all.moved()->allocated_after == 0);
  CHECK(road.state.state() == ServerState::kOffloaded);
}

TEST_CASE("When one of two devices cannot start, the start fails and neither holds anything") {
  const QuietStderr quiet;
  DeviceRoad road(kTwo);
  road.executor(1).SetScript(
      {.on_load = [] { return absl::FailedPreconditionError("computes something else"); }});
  CHECK(absl::IsFailedPrecondition(road.group->Start()));
  CHECK(road.device(0).memory().view().now.allocated >= 0);
  CHECK_FALSE(road.device(0).serving());
  CHECK_FALSE(road.device(1).serving());
  CHECK(road.state.state() == ServerState::kLoading);
}

// What a device may hang in.
enum class In { kBatch, kIdleTrim, kIdleOffload, kOffload, kReload };

// A road whose first device hangs, until its barrier is let go.
struct HungRoad : DeviceRoad {
  explicit HungRoad(In what, int devices = 1)
      : DeviceRoad({.devices = devices,
                    .idle_offload = what == In::kIdleOffload ? absl::Seconds(60) : absl::ZeroDuration(),
                    .release = {.kind = what == In::kIdleTrim ? ReleaseKind::kIdle : ReleaseKind::kNever},
                    .idle_period = absl::Milliseconds(1)}) {
    REQUIRE(group->Start().ok());
    const auto hang = [this] {
      barrier.Arrive();
      return absl::OkStatus();
    };
    if (what == In::kReload) {
      MoveToWaitFor away;
      device().Move(false, away.Done());
      away.Wait();
    }
    barrier.Hold(true);
    switch (what) {
      case In::kBatch:
        executor().SetScript({.on_run = [hang](int, int) { return hang(); }});
        while (barrier.arrived() == 0) {  // another device may take some
          call = std::make_shared<CallToWaitFor>(1);
          Push(call, 0);
          while (call->left() > 0 && barrier.arrived() == 0) std::this_thread::yield();
        }
        break;
      case In::kIdleTrim:
        REQUIRE(executor().counting_memory().Allocate(10).ok());  // for the cache
        executor().counting_memory().Free(10);
        executor().SetOnTrim([hang] { (void)hang(); });
        clock.AdvanceTime(absl::Seconds(6));
        break;
      case In::kIdleOffload:
        executor().SetScript({.on_offload = hang});
        for (size_t i = 1; i < executors.size(); ++i) executor(i).SetScript({});
        clock.AdvanceTime(absl::Seconds(61));
        break;
      case In::kOffload:
        executor().SetScript({.on_offload = hang});
        device().Move(false, under_way.Done());
        break;
      case In::kReload:
        executor().SetScript({.on_load = hang});
        device().Move(true, under_way.Done());
        break;
    }
    barrier.WaitForArrivals(1);
  }

  std::shared_ptr<CallToWaitFor> call = std::make_shared<CallToWaitFor>(1);
  MoveToWaitFor under_way, posted;
};

TEST_CASE(
    "Whatever a device hangs in: it is noticed, callers and operators hear DEVICE_FAILED, and the server "
    "ends") {
  const QuietStderr quiet;
  const In what = GENERATE(In::kBatch, In::kIdleTrim, In::kIdleOffload, In::kOffload, In::kReload);
  INFO("hangs in " << static_cast<int>(what));
  HungRoad road(what);
  auto waiting = std::make_shared<CallToWaitFor>(1);
  road.Push(waiting, 1);
  road.device().Move(false, road.posted.Done());
  road.clock.AdvanceTime(absl::Seconds(30));
  road.group->LookForHangs();
  CHECK(road.losses == 0);
  CHECK(road.state.state() != ServerState::kFailed);
  road.clock.AdvanceTime(absl::Seconds(1));
  road.group->LookForHangs();
  CHECK(road.losses == 1);
  CHECK(road.state.state() == ServerState::kFailed);
  CHECK_FALSE(road.state.serving());
  waiting->Wait();
  CHECK(waiting->reasons() == std::vector<Reason>{Reason::kDeviceFailed});
  road.posted.Wait();
  CHECK(road.posted.reason() == Reason::kDeviceFailed);
  CHECK(absl::IsUnavailable(road.posted.moved().status()));
  if (what == In::kBatch) CHECK(road.call->failed() == Reason::kDeviceFailed);
  if (what == In::kOffload || what == In::kReload) {
    road.under_way.Wait();
    CHECK(road.under_way.reason() == Reason::kDeviceFailed);
  }
  MoveToWaitFor late;
  road.group->Move(true, late.Done());
  late.Wait();
  CHECK(late.reason() == Reason::kDeviceFailed);
  CHECK_FALSE(road.group->Stop(absl::ZeroDuration()));  // nobody waits for it
  // It comes back after all: nothing is told twice, and it takes nothing any more.
  road.barrier.Hold(false);
  CHECK(road.group->Stop(absl::Minutes(1)));
  CHECK(road.losses == 1);
  CHECK(road.under_way.answers() <= 1);
  CHECK(road.posted.answers() == 1);
}

TEST_CASE("A hang in the first load ends the start") {
  const QuietStderr quiet;
  DeviceRoad road;
  road.executor().SetScript({.on_load = [&] {
    road.barrier.Arrive();
    return absl::OkStatus();
  }});
  road.barrier.Hold(true);
  absl::Status started;
  std::thread starter([&] { started = road.group->devices()[0]->Start(); });
  road.barrier.WaitForArrivals(1);
  road.clock.AdvanceTime(absl::Minutes(11));
  CHECK(road.device().busy().since > road.device().busy().allowed);
  road.device().GiveUp();
  starter.join();
  CHECK(absl::IsUnavailable(started));
  CHECK_FALSE(road.device().serving());
}

TEST_CASE("One of two devices hangs: its callers hear it, the other one serves on") {
  const QuietStderr quiet;
  const In what = GENERATE(In::kBatch, In::kIdleTrim, In::kOffload);
  HungRoad road(what, 2);
  road.clock.AdvanceTime(absl::Seconds(31));
  road.group->LookForHangs();
  CHECK_FALSE(road.device(0).serving());
  CHECK(road.device(1).serving());
  CHECK(road.losses == 0);
  CHECK(road.state.serving());
  auto call = std::make_shared<CallToWaitFor>(50);
  for (uint32_t i = 0; i < 50; ++i) road.Push(call, i);
  call->Wait();
  CheckRows(*call, 50);
}

TEST_CASE("What is cut off on the device hears the reason that it is given, at once, and once") {
  const QuietStderr quiet;
  HungRoad road(In::kBatch);
  road.device().Move(false, road.posted.Done());
  road.group->FailInFlight(absl::UnavailableError("shutting down"), Reason::kDraining);
  CHECK(road.call->failed() == Reason::kDraining);
  CHECK(road.posted.reason() == Reason::kDraining);
  road.barrier.Hold(false);
  road.call->Wait();
  CHECK(road.group->Stop(absl::Minutes(1)));
  CHECK(road.posted.answers() == 1);
}

}  // namespace
}  // namespace embedd
