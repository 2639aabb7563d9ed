// SPDX-License-Identifier: Apache-2.0
//
// One device with its real thread, over the fake executor.

#include "server/device/device_thread.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "server/support/log.h"
#include "tests/support/captured_stderr.h"
#include "tests/support/catch.h"
#include "tests/support/device_road.h"
#include "tests/support/metric_value.h"
#include "tests/support/quiet_stderr.h"

namespace embedd {
namespace {

TEST_CASE("What is pushed is answered, with the right row") {
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  auto call = std::make_shared<CallToWaitFor>(100);
  for (uint32_t i = 0; i < 100; ++i) road.Push(call, i);
  call->Wait();
  for (uint32_t i = 0; i < 100; ++i)
    REQUIRE(call->row(i) == FakeExecutor::FakeRow(static_cast<uint8_t>(i), 4));
  CHECK(call->largest_batch() <= 8);
}

TEST_CASE("Images queued before the start are served after it") {
  DeviceRoad road;
  auto call = std::make_shared<CallToWaitFor>(1);
  road.Push(call, 5);
  REQUIRE(road.group->Start().ok());
  call->Wait();
  CHECK(call->row(5) == FakeExecutor::FakeRow(5, 4));
}

TEST_CASE("While the device works, images gather in the queue and leave it in whole batches") {
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto call = std::make_shared<CallToWaitFor>(1 + 3 * 8);
  road.Push(call, 0);
  road.barrier.WaitForArrivals(1);
  for (uint32_t i = 1; i <= 3 * 8; ++i) road.Push(call, i);
  CHECK(road.queue.size() == 3 * 8);
  road.barrier.Hold(false);
  call->Wait();
  const std::vector<int> sizes = road.executor().batch_sizes();
  CHECK(std::vector<int>(sizes.end() - 4, sizes.end()) == std::vector<int>{1, 8, 8, 8});
}

TEST_CASE("An image that comes while a batch runs passes the whole batches of a job that wait already") {
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto job = std::make_shared<CallToWaitFor>(1 + 3 * 8);
  int left_of_job = 0;  // answers come from one thread, batch by batch
  auto single = std::make_shared<CallToWaitFor>(1, [&] { left_of_job = job->left(); });
  road.Push(job, 0, {.lane = Lane::kBulk});
  road.barrier.WaitForArrivals(1);
  for (uint32_t i = 1; i <= 3 * 8; ++i) road.Push(job, i, {.lane = Lane::kBulk});
  road.Push(single, 0);
  road.barrier.Hold(false);
  single->Wait();
  job->Wait();
  CHECK(left_of_job >= 3 * 8 - 7);  // none but the image that ran, and seven that rode with the single one
}

TEST_CASE("It serves and the cap is there once Start returns, and the metric tells the cap") {
  DeviceRoad road;
  CHECK_FALSE(road.device().serving());
  REQUIRE(road.group->Start().ok());
  CHECK(road.device().serving());
  const DeviceThread::Batching batching = road.device().batching();
  CHECK(batching.buckets == std::vector<int>{1, 2, 4, 8});
  CHECK(batching.cap.images == 8);
  CHECK(MetricValue(road.metrics, "embedd_batch_cap{device=\"cpu\",set_by=\"max_batch\",tower=\"image\"}") ==
        8);
}

TEST_CASE("A start that fails says why, and it does not serve") {
  DeviceRoad road;
  road.executor().counting_memory().SetLimit(10);
  CHECK(absl::IsResourceExhausted(road.group->Start()));
  CHECK_FALSE(road.device().serving());
}

TEST_CASE("Out of memory on the device lowers the cap, and the images are answered") {
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto first = std::make_shared<CallToWaitFor>(1), call = std::make_shared<CallToWaitFor>(8);
  road.Push(first, 0);
  road.barrier.WaitForArrivals(1);
  for (uint32_t i = 0; i < 8; ++i) road.Push(call, i);
  road.LimitToBatchOf(2);
  road.barrier.Hold(false);
  call->Wait();
  for (uint32_t i = 0; i < 8; ++i) CHECK(call->row(i) == FakeExecutor::FakeRow(static_cast<uint8_t>(i), 4));
  CHECK(road.device().batching().cap.images <= 2);
}

TEST_CASE("Thousands that expire at once do not hold up the next batch: they are told beside it") {
  constexpr uint32_t kMany = 8192;
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto first = std::make_shared<CallToWaitFor>(1), fresh = std::make_shared<CallToWaitFor>(1);
  road.Push(first, 0);
  road.barrier.WaitForArrivals(1);
  // Whoever tells an expired one waits until the next batch has begun.
  std::atomic<bool> held_up{false};
  auto expired = std::make_shared<CallToWaitFor>(kMany, [&] {
    if (!held_up && !road.barrier.WaitForArrivals(2, absl::Seconds(10))) held_up = true;
  });
  for (uint32_t i = 0; i < kMany; ++i)
    road.Push(expired, i, {.deadline = road.clock.TimeNow() + absl::Seconds(1)});
  road.clock.AdvanceTime(absl::Seconds(1));
  road.Push(fresh, 0);
  road.barrier.Hold(false);
  fresh->Wait();
  expired->Wait();
  CHECK_FALSE(held_up);
  CHECK(expired->reasons() == std::vector<Reason>(kMany, Reason::kDeadline));
}

TEST_CASE("--log-level debug says of each batch what is in it and what it leaves") {
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  CapturedStderr log;
  for (const char* level : {"debug", "info"}) {
    ConfigureLogging(level, "json");
    auto call = std::make_shared<CallToWaitFor>(1);
    road.Push(call, 0, {.lane = Lane::kBulk});
    call->Wait();
  }
  ConfigureLogging("info", "auto");
  const std::vector<std::string> lines = log.Lines();
  REQUIRE(lines.size() == 1);
  for (const char* part : {"a batch is formed", R"("level":"debug")", R"("images":"1")", R"("bulk":"1")",
                           R"("device":"cpu")", R"("bulk_left":"0")"}) {
    CHECK_THAT(lines[0], ContainsSubstring(part));
  }
}

TEST_CASE("A lost device is told once; what is queued or pushed later is answered DEVICE_FAILED") {
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  road.executor().SetScript({.on_run = [&](int, int) {
    road.barrier.Arrive();
    return absl::UnavailableError("gone");
  }});
  road.barrier.Hold(true);
  const int images = 1 + 3 * 8;
  auto call = std::make_shared<CallToWaitFor>(images), later = std::make_shared<CallToWaitFor>(1);
  road.Push(call, 0);
  road.barrier.WaitForArrivals(1);
  for (uint32_t i = 1; i < images; ++i) road.Push(call, i);
  road.barrier.Hold(false);
  call->Wait();
  CHECK(call->reasons() == std::vector<Reason>(images, Reason::kDeviceFailed));
  road.Push(later, 0);
  later->Wait();
  CHECK(later->reasons() == std::vector<Reason>{Reason::kDeviceFailed});
  CHECK(road.group->Stop(absl::Minutes(1)));
  CHECK(road.losses == 1);
}

TEST_CASE("After the stop nothing is formed any more, and what was formed is answered") {
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto formed = std::make_shared<CallToWaitFor>(1), waiting = std::make_shared<CallToWaitFor>(1);
  road.Push(formed, 0);
  road.barrier.WaitForArrivals(1);
  CHECK_FALSE(road.group->Stop(absl::ZeroDuration()));
  CHECK_FALSE(road.group->Stop(absl::ZeroDuration()));
  road.Push(waiting, 1);
  road.barrier.Hold(false);
  formed->Wait();
  CHECK(road.group->Stop(absl::Minutes(1)));
  CHECK(road.group->Stop(absl::ZeroDuration()));
  CHECK(formed->reasons().empty());
  CHECK(road.queue.size() == 1);
}

TEST_CASE(
    "Many callers at once, with cancels, out of memory and a moving limit: each image is answered once") {
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  constexpr int kThreads = 4, kCalls = 40;
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < kThreads; ++t) {
    callers.emplace_back([&, t] {
      for (int c = 0; c < kCalls; ++c) {
        const int images = 1 + (7 * t + 3 * c) % 12;
        auto call = std::make_shared<CallToWaitFor>(images);
        for (int i = 0; i < images; ++i) {
          road.Push(
              call, static_cast<uint32_t>(i),
              {.lane = c % 3 == 0 ? Lane::kBulk : Lane::kInteractive, .flow = static_cast<uint64_t>(t)});
        }
        if (c % 5 == 4) {
          call->MarkDead();
          road.queue.DropDead(static_cast<uint64_t>(t));
        }
        if (c % 7 == 0) road.LimitToBatchOf(1 + (c + t) % 9);
        call->Wait();
        for (int i = 0; i < images; ++i) {
          const std::vector<float> row = call->row(static_cast<uint32_t>(i));
          if (row.empty()) continue;
          good += row == FakeExecutor::FakeRow(static_cast<uint8_t>(i), 4) ? 1 : -1000000;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(good > 0);
  CHECK(road.device().memory().view().now.allocated == 1000);
  CHECK(road.group->Stop(absl::Minutes(1)));
  CHECK(MetricValue(road.metrics, "embedd_batch_unreleased_bytes") == 0);
}

TEST_CASE("The same thread does everything with the device") {
  DeviceRoad road({.release = {.kind = ReleaseKind::kAlways}});
  Mutex mu;
  std::vector<std::thread::id> ids;
  const auto note = [&] {
    MutexLock lock(&mu);
    ids.push_back(std::this_thread::get_id());
  };
  road.executor().SetScript({.on_run =
                                 [&](int, int) {
                                   note();
                                   return absl::OkStatus();
                                 },
                             .on_load =
                                 [&] {
                                   note();
                                   return absl::OkStatus();
                                 },
                             .on_offload =
                                 [&] {
                                   note();
                                   return absl::OkStatus();
                                 }});
  road.executor().SetOnTrim(note);
  REQUIRE(road.group->Start().ok());
  MoveToWaitFor away;
  road.device().Move(false, away.Done());
  away.Wait();
  auto call = std::make_shared<CallToWaitFor>(1);
  road.Push(call, 0);
  call->Wait();
  MutexLock lock(&mu);
  CHECK(ids.size() > 8);  // the warm-up, twice a load, an offload, trims, a batch
  for (const std::thread::id id : ids) CHECK(id == ids[0]);
  CHECK(ids[0] != std::this_thread::get_id());
}

TEST_CASE("An offload and a reload by hand tell the bytes, and the state follows") {
  const QuietStderr quiet;
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  CHECK(road.state.state() == ServerState::kReady);
  MoveToWaitFor away, back;
  road.group->Move(false, away.Done());
  away.Wait();
  REQUIRE(away.moved().ok());
  CHECK(away.moved()->allocated_before == 1000);
  CHECK(away.moved()->allocated_after == 0);
  CHECK(road.state.state() == ServerState::kOffloaded);
  CHECK(road.state.serving());
  road.group->Move(true, back.Done());
  back.Wait();
  REQUIRE(back.moved().ok());
  CHECK(back.moved()->allocated_after == 1000);
  CHECK(road.state.state() == ServerState::kReady);
}

TEST_CASE("Offloading and reloading do not undo a drain") {
  const QuietStderr quiet;
  DeviceRoad road;
  REQUIRE(road.group->Start().ok());
  road.state.Set(ServerState::kDraining);
  MoveToWaitFor away;
  road.group->Move(false, away.Done());
  away.Wait();
  auto call = std::make_shared<CallToWaitFor>(1);
  road.Push(call, 0);
  call->Wait();
  CHECK(call->reasons().empty());
  CHECK(road.state.state() == ServerState::kDraining);
}

TEST_CASE("An idle device tidies up on its own thread, and still takes work") {
  const QuietStderr quiet;
  DeviceRoad road({.idle_offload = absl::Seconds(60), .idle_period = absl::Milliseconds(1)});
  REQUIRE(road.group->Start().ok());
  road.clock.AdvanceTime(absl::Seconds(61));
  while (road.state.state() != ServerState::kOffloaded) std::this_thread::yield();
  auto call = std::make_shared<CallToWaitFor>(1);
  road.Push(call, 3);
  call->Wait();
  CHECK(call->row(3) == FakeExecutor::FakeRow(3, 4));
  CHECK(road.executor().loads() == 2);
}

TEST_CASE(
    "While the model loads, and in a batch, it is busy; then it is not, and the metric counts the time") {
  DeviceRoad road;
  road.executor().SetScript({.on_run = [&](int, int) {
    road.clock.AdvanceTime(absl::Seconds(1));
    CHECK(road.device().busy().doing == "loading the model");
    CHECK(road.device().busy().allowed >= absl::Minutes(1));
    return absl::OkStatus();
  }});
  REQUIRE(road.group->Start().ok());
  CHECK(road.device().busy().since == absl::ZeroDuration());
  const double after_start = MetricValue(road.metrics, "embedd_device_busy_seconds_total{device=\"cpu\"}");
  CHECK(after_start == Approx(2));  // two runs of one image: then it is too slow to go on
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto call = std::make_shared<CallToWaitFor>(1);
  road.Push(call, 0);
  road.barrier.WaitForArrivals(1);
  road.clock.AdvanceTime(absl::Seconds(7));
  CHECK(road.device().busy().doing == "a batch");
  CHECK(road.device().busy().since == absl::Seconds(7));
  road.barrier.Hold(false);
  call->Wait();
  while (!road.device().busy().doing.empty()) std::this_thread::yield();
  CHECK(MetricValue(road.metrics, "embedd_device_busy_seconds_total") == Approx(after_start + 7));
}

}  // namespace
}  // namespace embedd
