// SPDX-License-Identifier: Apache-2.0
//
// DeviceRoad: the road from the queue to the answers with its real threads, over fake executors, one or
// several, put together as the server does; and what a test needs to hold a device and to wait for answers.

#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/device/device_group.h"
#include "server/reply/reply_stage.h"
#include "tests/support/fake_executor.h"
#include "tests/support/recording_call.h"

namespace embedd {

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
  // False when they did not come within `limit` of real time.
  bool WaitForArrivals(int n, absl::Duration limit) {
    const absl::Time end = Clock::Real()->TimeNow() + limit;
    MutexLock lock(&mu_);
    while (arrived_ < n) {
      const absl::Duration left = end - Clock::Real()->TimeNow();
      if (left <= absl::ZeroDuration()) return false;
      changed_.WaitFor(&mu_, left);
    }
    return true;
  }
  int arrived() {
    MutexLock lock(&mu_);
    return arrived_;
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
  void Fail(absl::Status status, Reason reason) override {
    CallSink::Fail(std::move(status), reason);
    MutexLock lock(&mu_);
    failed_ = reason;
  }
  void Wait() {
    MutexLock lock(&mu_);
    while (left_ > 0) done_.Wait(&mu_);
  }
  // Why it ended as a whole while inputs were out; kNone: it did not.
  Reason failed() {
    MutexLock lock(&mu_);
    return failed_;
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
  Reason failed_ ABSL_GUARDED_BY(mu_) = Reason::kNone;
  std::map<uint32_t, std::vector<float>> rows_ ABSL_GUARDED_BY(mu_);
  std::vector<Reason> reasons_ ABSL_GUARDED_BY(mu_);
};

// What an operator's call hears.
class MoveToWaitFor {
 public:
  WeightsMoved Done() {
    return [this](absl::StatusOr<WeightsMove> moved, Reason reason) {
      MutexLock lock(&mu_);
      ++answers_;
      moved_ = std::move(moved);
      reason_ = reason;
      told_.SignalAll();
    };
  }
  void Wait() {
    MutexLock lock(&mu_);
    while (answers_ == 0) told_.Wait(&mu_);
  }
  int answers() {
    MutexLock lock(&mu_);
    return answers_;
  }
  absl::StatusOr<WeightsMove> moved() {
    MutexLock lock(&mu_);
    return moved_;
  }
  Reason reason() {
    MutexLock lock(&mu_);
    return reason_;
  }

 private:
  Mutex mu_;
  CondVar told_;
  int answers_ ABSL_GUARDED_BY(mu_) = 0;
  absl::StatusOr<WeightsMove> moved_ ABSL_GUARDED_BY(mu_) = absl::UnknownError("not told");
  Reason reason_ ABSL_GUARDED_BY(mu_) = Reason::kNone;
};

struct DeviceRoad {
  struct Options {
    int devices = 1;  // called cpu, or cpu:0, cpu:1, …
    CapController::Options cap = {.max_batch = 8, .latency_target = absl::ZeroDuration()};
    absl::Duration idle_offload = absl::ZeroDuration();
    ReleasePolicy::Options release = {.kind = ReleaseKind::kNever};
    absl::Duration idle_period = absl::Milliseconds(200);
    int64_t text_weight_bytes = 0;  // 0: the model has no text tower
    bool is_processor = false;      // as of DeviceThread::Options
  };
  DeviceRoad() : DeviceRoad(Options()) {}
  explicit DeviceRoad(const Options& options) {
    std::vector<DeviceGroup::Device> devices;
    for (int i = 0; i < options.devices; ++i) {
      auto executor = std::make_unique<FakeExecutor>(
          FakeExecutor::Options{.text_weight_bytes = options.text_weight_bytes});
      executors.push_back(executor.get());
      devices.push_back(
          {.options = {.number = i,
                       .name = options.devices == 1 ? "cpu" : absl::StrCat("cpu:", i),
                       .is_processor = options.is_processor,
                       .cap = options.cap,
                       .session = {.blank = {{std::vector<uint8_t>(3, 127),
                                              std::vector<uint8_t>(options.text_weight_bytes > 0 ? 3 : 0)}},
                                   .idle_offload = options.idle_offload},
                       .release = options.release,
                       .idle_period = options.idle_period},
           .executor = std::move(executor)});
    }
    group = std::make_unique<DeviceGroup>(
        std::move(devices), DeviceGroup::Deps{.queue = &queue,
                                              .metrics = &metrics,
                                              .ledger = &ledger,
                                              .state = &state,
                                              .reply = [this](FinishedBatch b) { reply.Send(std::move(b)); },
                                              .on_all_lost = [this] { ++losses; },
                                              .clock = &clock,
                                              .watch_interval = absl::Hours(1)});
  }
  // In the order of the server.
  ~DeviceRoad() {
    barrier.Hold(false);
    queue.FailAll(absl::UnavailableError("the server stopped"), Reason::kDraining);
    group->Stop(absl::Minutes(1));
    reply.Stop();
  }

  // How long it would take until `images` and `texts` more are answered.
  absl::Duration Expected(Lane lane, int images, int texts = 0) const {
    return group->ExpectedTime(lane, {{images, texts}});
  }
  DeviceThread& device(size_t i = 0) { return *group->devices()[i]; }
  FakeExecutor& executor(size_t i = 0) { return *executors[i]; }  // until the stop
  // Every batch of the device waits at the barrier while that is held.
  void StopAtBarrier(size_t i = 0) {
    executor(i).SetScript({.on_run = [this](int, int) {
      barrier.Arrive();
      return absl::OkStatus();
    }});
  }
  void Push(const std::shared_ptr<CallSink>& call, uint32_t index, TaskOptions options = {}) {
    options.byte = static_cast<uint8_t>(index);
    queue.Push(MakeTask(call, index, options));
  }
  void LimitToBatchOf(int n) {
    const FakeExecutor::Options o;
    executor().counting_memory().SetLimit(o.weight_bytes + o.fixed_bytes + n * o.bytes_per_image);
  }

  SimulatedClock clock;
  Metrics metrics;
  BatchLedger ledger;
  StateBoard state;
  Barrier barrier;
  std::atomic<int> losses{0};
  BoundedQueue queue{{}, &clock};
  ReplyStage reply{Clock::Real(), &metrics};
  std::vector<FakeExecutor*> executors;
  std::unique_ptr<DeviceGroup> group;
};

}  // namespace embedd
