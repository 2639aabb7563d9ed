// SPDX-License-Identifier: Apache-2.0
//
// The road from the queue to the answers with its real threads, over the fake executor.

#include "server/device/batch_scheduler.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/reply/reply_stage.h"
#include "server/support/log.h"
#include "tests/support/catch.h"
#include "tests/support/device_rig.h"
#include "tests/support/metric_value.h"

namespace embedd {
namespace {

// Holds the device inside a batch until the test lets it go on.
class Barrier {
 public:
  void Arrive() {
    MutexLock lock(&mu_);
    ++arrived_;
    changed_.SignalAll();
    while (held_) changed_.Wait(&mu_);
  }
  void WaitForArrivals(int n) {
    MutexLock lock(&mu_);
    while (arrived_ < n) changed_.Wait(&mu_);
  }
  void Hold(bool held) {
    MutexLock lock(&mu_);
    held_ = held;
    changed_.SignalAll();
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int arrived_ ABSL_GUARDED_BY(mu_) = 0;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
};

// A call whose end can be waited for.
class CallToWaitFor final : public CallSink {
 public:
  explicit CallToWaitFor(
      int inputs, std::function<void()> on_answer = [] {})
      : on_answer_(std::move(on_answer)), left_(inputs) {}
  void OnAnswer(uint32_t index, Answer answer) override {
    on_answer_();
    MutexLock lock(&mu_);
    rows_[index].assign(answer.row.begin(), answer.row.end());
    if (answer.outcome != Outcome::kOk) reasons_.push_back(answer.reason);
    largest_batch_ = std::max(largest_batch_, answer.batch_size);
    if (--left_ == 0) done_.SignalAll();
  }
  void Wait() {
    MutexLock lock(&mu_);
    while (left_ > 0) done_.Wait(&mu_);
  }
  std::vector<float> row(uint32_t index) {
    MutexLock lock(&mu_);
    return rows_[index];
  }
  std::vector<Reason> reasons() {
    MutexLock lock(&mu_);
    return reasons_;
  }
  int largest_batch() {
    MutexLock lock(&mu_);
    return largest_batch_;
  }
  int left() {
    MutexLock lock(&mu_);
    return left_;
  }

 private:
  const std::function<void()> on_answer_;
  Mutex mu_;
  CondVar done_;
  int left_ ABSL_GUARDED_BY(mu_);
  int largest_batch_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint32_t, std::vector<float>> rows_ ABSL_GUARDED_BY(mu_);
  std::vector<Reason> reasons_ ABSL_GUARDED_BY(mu_);
};

struct Road : DeviceRig {
  explicit Road(CapController::Options cap = {.max_batch = 8, .latency_target = absl::ZeroDuration()})
      : DeviceRig({.max_batch = cap.max_batch}),
        queue({}, &clock),
        device(Clock::Real()),
        reply(Clock::Real(), &metrics),
        session({.pixel_bytes = 3}, deps(), &state),
        scheduler(cap, {.queue = &queue,
                        .device = &device,
                        .session = &session,
                        .board = &board,
                        .metrics = &metrics,
                        .reply = [this](FinishedBatch batch) { reply.Send(std::move(batch)); },
                        .on_device_lost =
                            [this] {
                              ++losses;
                              queue.FailAll(absl::UnavailableError("the device was lost"),
                                            Reason::kDeviceFailed);
                            },
                        .clock = &clock}) {
    ConfigureLogging("error", "text");
  }
  // In the order of the server.
  ~Road() {
    barrier.Hold(false);
    scheduler.Stop();
    queue.FailAll(absl::UnavailableError("the server stopped"), Reason::kDraining);
    device.Stop();
    reply.Stop();
  }
  void StopAtBarrier() {
    executor.SetScript({.on_run = [this](int, int) {
      barrier.Arrive();
      return absl::OkStatus();
    }});
  }
  void Push(const std::shared_ptr<CallSink>& call, uint32_t index, TaskOptions options = {}) {
    options.byte = static_cast<uint8_t>(index);
    queue.Push(MakeTask(call, index, options));
  }

  Barrier barrier;
  std::atomic<int> losses{0};
  StateBoard state;
  BoundedQueue queue;
  DeviceThread device;
  ReplyStage reply;
  DeviceSession session;
  BatchScheduler scheduler;
};

TEST_CASE("What is pushed is answered, with the right row") {
  Road road;
  REQUIRE(road.scheduler.Start().ok());
  auto call = std::make_shared<CallToWaitFor>(100);
  for (uint32_t i = 0; i < 100; ++i) road.Push(call, i);
  call->Wait();
  for (uint32_t i = 0; i < 100; ++i)
    REQUIRE(call->row(i) == FakeExecutor::FakeRow(static_cast<uint8_t>(i), 4));
  CHECK(call->largest_batch() <= 8);
}

TEST_CASE("Images queued before the start are served after it") {
  Road road;
  auto call = std::make_shared<CallToWaitFor>(1);
  road.Push(call, 5);
  REQUIRE(road.scheduler.Start().ok());
  call->Wait();
  CHECK(call->row(5) == FakeExecutor::FakeRow(5, 4));
}

TEST_CASE("While the device works, images gather in the queue and leave it in whole batches") {
  Road road;
  REQUIRE(road.scheduler.Start().ok());
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto call = std::make_shared<CallToWaitFor>(1 + 3 * 8);
  road.Push(call, 0);
  road.barrier.WaitForArrivals(1);
  for (uint32_t i = 1; i <= 3 * 8; ++i) road.Push(call, i);
  CHECK(road.queue.size() == 3 * 8);
  road.barrier.Hold(false);
  call->Wait();
  const std::vector<int> sizes = road.executor.batch_sizes();
  CHECK(std::vector<int>(sizes.end() - 4, sizes.end()) == std::vector<int>{1, 8, 8, 8});
}

TEST_CASE("An image that comes while a batch runs passes the whole batches of a job that wait already") {
  Road road;
  REQUIRE(road.scheduler.Start().ok());
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto job = std::make_shared<CallToWaitFor>(1 + 3 * 8);
  int left_of_job = 0;  // answers come from one thread, batch by batch
  auto single = std::make_shared<CallToWaitFor>(1, [&] { left_of_job = job->left(); });
  road.Push(job, 0, {.lane = Lane::kBulk});
  road.barrier.WaitForArrivals(1);
  for (uint32_t i = 1; i <= 3 * 8; ++i) road.Push(job, i, {.lane = Lane::kBulk});
  while (road.device.waiting() == 0) std::this_thread::yield();  // until the next batch is asked for
  road.Push(single, 0);
  road.barrier.Hold(false);
  single->Wait();
  job->Wait();
  CHECK(left_of_job >= 3 * 8 - 7);  // none but the image that ran, and seven that rode with the single one
}

TEST_CASE("The state and the cap are there once Start returns, and the metric tells the cap") {
  Road road;
  REQUIRE(road.scheduler.Start().ok());
  CHECK(road.state.state() == ServerState::kReady);
  const BatchScheduler::Batching batching = road.scheduler.batching();
  CHECK(batching.buckets == std::vector<int>{1, 2, 4, 8});
  CHECK(batching.cap.images == 8);
  CHECK(MetricValue(road.metrics, "embedd_batch_cap{set_by=\"max_batch\"}") == 8);
}

TEST_CASE("A start that fails says why, and nothing runs") {
  Road road;
  road.executor.counting_memory().SetLimit(10);
  CHECK(absl::IsResourceExhausted(road.scheduler.Start()));
  CHECK(road.executor.batch_sizes().empty());
}

TEST_CASE("Out of memory on the device lowers the cap, and the images are answered") {
  Road road;
  REQUIRE(road.scheduler.Start().ok());
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
  CHECK(road.scheduler.batching().cap.images <= 2);
}

TEST_CASE("The expected time counts the backlog, the batch on the device, and what is asked about") {
  Road road;
  road.executor.SetScript({.on_run = [&](int, int bucket) {
    road.clock.AdvanceTime(absl::Milliseconds(10 * bucket));
    return absl::OkStatus();
  }});
  CHECK(road.scheduler.ExpectedTime(5) == absl::ZeroDuration());
  REQUIRE(road.scheduler.Start().ok());
  CHECK(absl::ToDoubleMilliseconds(road.scheduler.ExpectedTime(4)) == Approx(40));
  CHECK(absl::ToDoubleMilliseconds(road.scheduler.ExpectedTime(17)) == Approx(170));
  CHECK(absl::ToDoubleMilliseconds(road.scheduler.ExpectedBatchTime()) == Approx(80));
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto call = std::make_shared<CallToWaitFor>(4);
  road.Push(call, 0);
  road.barrier.WaitForArrivals(1);
  for (uint32_t i = 1; i < 4; ++i) road.Push(call, i);
  CHECK(absl::ToDoubleMilliseconds(road.scheduler.ExpectedTime(1)) == Approx(50));
  road.barrier.Hold(false);
  call->Wait();
}

TEST_CASE("A device that ran nothing for ten seconds refuses nobody by what it measured before") {
  Road road;
  int ms_per_image = 1000;  // a bad moment
  road.executor.SetScript({.on_run = [&](int, int bucket) {
    road.clock.AdvanceTime(absl::Milliseconds(ms_per_image * bucket));
    return absl::OkStatus();
  }});
  REQUIRE(road.scheduler.Start().ok());
  auto refused = std::make_shared<CallToWaitFor>(1), served = std::make_shared<CallToWaitFor>(1);
  CHECK(road.scheduler.ExpectedTime(1) == absl::Seconds(1));
  road.Push(refused, 0, {.deadline = road.clock.TimeNow() + absl::Milliseconds(500)});
  refused->Wait();
  CHECK(refused->reasons() == std::vector<Reason>{Reason::kDeadline});

  road.clock.AdvanceTime(absl::Seconds(10));
  ms_per_image = 10;
  CHECK(road.scheduler.ExpectedTime(1) == absl::ZeroDuration());
  road.Push(served, 0, {.deadline = road.clock.TimeNow() + absl::Milliseconds(500)});
  served->Wait();
  CHECK(served->reasons().empty());
  CHECK(road.scheduler.ExpectedTime(1) > absl::ZeroDuration());
}

TEST_CASE("A lost device is told once; what is queued or pushed later is answered DEVICE_FAILED") {
  Road road;
  REQUIRE(road.scheduler.Start().ok());
  road.executor.SetScript({.on_run = [&](int, int) {
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
  road.scheduler.Stop();
  road.device.Run([] {});
  CHECK(road.losses == 1);
}

TEST_CASE("After the stop nothing is formed any more, and what was formed is answered") {
  Road road;
  REQUIRE(road.scheduler.Start().ok());
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto formed = std::make_shared<CallToWaitFor>(1), waiting = std::make_shared<CallToWaitFor>(1);
  road.Push(formed, 0);
  road.barrier.WaitForArrivals(1);
  road.scheduler.Stop();
  road.scheduler.Stop();
  road.Push(waiting, 1);
  road.barrier.Hold(false);
  formed->Wait();
  CHECK(formed->reasons().empty());
  CHECK(road.queue.size() == 1);
}

TEST_CASE("A scheduler that is destroyed waits for its batch on the device") {
  DeviceRig rig;
  StateBoard state;
  BoundedQueue queue({}, &rig.clock);
  DeviceThread device(Clock::Real());
  DeviceSession session({.pixel_bytes = 3}, rig.deps(), &state);
  Barrier barrier;
  std::atomic<int> answered{0};
  auto call = std::make_shared<CallToWaitFor>(1);
  std::thread opener;
  {
    BatchScheduler scheduler({.max_batch = 8}, {.queue = &queue,
                                                .device = &device,
                                                .session = &session,
                                                .board = &rig.board,
                                                .metrics = &rig.metrics,
                                                .reply =
                                                    [&](FinishedBatch batch) {
                                                      DeliverAnswers(std::move(batch));
                                                      ++answered;
                                                    },
                                                .on_device_lost = [] {}});
    REQUIRE(scheduler.Start().ok());
    rig.executor.SetScript({.on_run = [&](int, int) {
      barrier.Arrive();
      return absl::OkStatus();
    }});
    barrier.Hold(true);
    queue.Push(MakeTask(call, 0));
    barrier.WaitForArrivals(1);
    opener = std::thread([&] { barrier.Hold(false); });
  }
  CHECK(answered == 1);
  opener.join();
}

TEST_CASE(
    "Many callers at once, with cancels, out of memory and a moving limit: each image is answered once") {
  Road road({.max_batch = 8});
  REQUIRE(road.scheduler.Start().ok());
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
  road.scheduler.Stop();
  int64_t allocated = 0;
  road.device.Run([&] { allocated = road.allocated(); });
  CHECK(allocated == 1000);
  CHECK(MetricValue(road.metrics, "embedd_batch_unreleased_bytes") == 0);
}

}  // namespace
}  // namespace embedd
