// SPDX-License-Identifier: Apache-2.0

#include "server/device/batch_scheduler.h"

#include <memory>
#include <utility>

#include "server/support/process.h"

namespace embedd {
namespace {

constexpr absl::Duration kTimesStayFresh = absl::Seconds(10);

}  // namespace

BatchScheduler::BatchScheduler(CapController::Options options, Deps deps)
    : options_(options), deps_(std::move(deps)), cap_(options) {
  deps_.queue->SetPushListener([this] {
    MutexLock lock(&mu_);
    // Waking a thread costs more than all else that a push does: not for an image that only waits for others.
    if (ShouldForm(deps_.queue->sizes(), in_flight_, cap_)) wake_.Signal();
  });
}

BatchScheduler::~BatchScheduler() {
  Stop();
  MutexLock lock(&mu_);
  while (in_flight_ > 0) landed_.Wait(&mu_);
}

absl::Status BatchScheduler::Start() {
  absl::Status status;
  CapController learned(options_);  // not cap_: others may ask for that one while the model loads
  deps_.device->Run([&] { status = deps_.session->Start(learned); });
  if (!status.ok()) return status;
  {
    MutexLock lock(&mu_);
    cap_ = std::move(learned);
    learned_at_ = deps_.clock->TimeNow();  // in the warm-up
    deps_.metrics->SetBatchCap(cap_.cap().images, cap_.cap().set_by);
  }
  deps_.device->SetIdleAction(absl::Milliseconds(200),
                              [session = deps_.session](absl::Duration idle) { session->OnIdle(idle); });
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

void BatchScheduler::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    wake_.Signal();
  }
  if (!thread_.joinable()) return;
  thread_.join();
  deps_.device->SetIdleAction(absl::InfiniteDuration(), nullptr);  // it refers to the session
}

void BatchScheduler::Loop() {
  SetThreadName("embed-sched");
  while (true) {
    {
      MutexLock lock(&mu_);
      while (!stopping_ && (lost_ || !ShouldForm(deps_.queue->sizes(), in_flight_, cap_))) wake_.Wait(&mu_);
      if (stopping_) return;
      ++in_flight_;
    }
    if (!deps_.device->Post([this] { RunNextBatch(); })) {
      Land(0);
      return;
    }
  }
}

void BatchScheduler::RunNextBatch() {
  BoundedQueue::Want want;
  bool lost = false;
  {
    MutexLock lock(&mu_);
    lost = lost_;
    want = PlanBatch(deps_.queue->sizes(), cap_, options_.padded);
    if (!TimesAreFresh()) want.batch_time = nullptr;
  }
  // Outside the lock: the queue answers what it drops, and an answer may come back here with a new push.
  // Of a lost device nothing is asked; its queue is being closed.
  Batch batch;
  if (!lost) batch.tasks = deps_.queue->Pop(want);
  if (batch.tasks.empty()) return Land(0);

  const int images = static_cast<int>(batch.tasks.size());
  std::vector<std::shared_ptr<CallSink>> calls;
  for (const EmbedTask& task : batch.tasks) {
    if (calls.empty() || calls.back().get() != task.call()) calls.push_back(task.shared_call());
  }
  {
    MutexLock lock(&mu_);
    images_in_flight_ += images;
    calls_in_flight_.swap(calls);
  }
  BatchReport report = deps_.session->Run(std::move(batch));
  Learn(report);
  deps_.reply(std::move(report.finished));
  bool first_loss = false;
  {
    MutexLock lock(&mu_);
    calls_in_flight_.swap(calls);  // a call may end where it is dropped: not under the lock
    first_loss = report.device_lost && !std::exchange(lost_, true);
  }
  if (first_loss) deps_.on_device_lost();
  Land(images);
}

void BatchScheduler::Land(int images) {
  MutexLock lock(&mu_);
  --in_flight_;
  images_in_flight_ -= images;
  wake_.Signal();
  if (in_flight_ == 0) landed_.SignalAll();
}

void BatchScheduler::FailInFlight(const absl::Status& status, Reason reason) {
  std::vector<std::shared_ptr<CallSink>> calls;
  {
    MutexLock lock(&mu_);
    calls = calls_in_flight_;
  }
  for (const std::shared_ptr<CallSink>& call : calls) call->Fail(status, reason);
}

void BatchScheduler::Learn(const BatchReport& report) {
  const MemoryBoard::View memory = deps_.board->view();
  MutexLock lock(&mu_);
  cap_.OnMemory(memory.now.limit, memory.baseline);
  learned_at_ = deps_.clock->TimeNow();
  for (const Attempt& attempt : report.attempts) {
    if (attempt.out_of_memory) {
      cap_.OnOutOfMemory(attempt.bucket);
    } else if (attempt.ok) {
      cap_.OnBatch(attempt.images, attempt.bucket, attempt.took, attempt.bytes);
    }
  }
  deps_.metrics->SetBatchCap(cap_.cap().images, cap_.cap().set_by);
}

BatchScheduler::Batching BatchScheduler::batching() const {
  MutexLock lock(&mu_);
  return {.buckets = cap_.ladder().rungs(), .cap = cap_.cap()};
}

absl::Duration BatchScheduler::ExpectedTime(int images) const {
  const int waiting = deps_.queue->size();
  MutexLock lock(&mu_);
  if (waiting == 0 && !TimesAreFresh()) return absl::ZeroDuration();
  const int all = waiting + images_in_flight_ + images;
  const int size = cap_.cap().images;
  const int whole = all / size;
  return whole * cap_.time().Predict(size) + cap_.time().Predict(all % size);
}

bool BatchScheduler::TimesAreFresh() const {
  return images_in_flight_ > 0 || deps_.clock->TimeNow() - learned_at_ < kTimesStayFresh;
}

absl::Duration BatchScheduler::ExpectedBatchTime() const {
  MutexLock lock(&mu_);
  return cap_.time().Predict(cap_.cap().images);
}

}  // namespace embedd
