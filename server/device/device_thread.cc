// SPDX-License-Identifier: Apache-2.0

#include "server/device/device_thread.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/device/device_lost.h"
#include "server/device/watchdog.h"
#include "server/support/log.h"
#include "server/support/process.h"

namespace embedd {
namespace {

constexpr absl::Duration kTimesStayFresh = absl::Seconds(10);
// Reading the weights from a slow disk, and on a GPU computing two images on the processor beside it.
constexpr absl::Duration kFirstLoadAllowed = absl::Minutes(10);
constexpr absl::Duration kEndAllowed = absl::Seconds(10);
constexpr int kDeviceFailedExit = 5;

}  // namespace

// A piece of work on the device, from the moment it begins.
class DeviceThread::BusyScope {
 public:
  BusyScope(DeviceThread* device, std::string_view doing, absl::Duration allowed)
      : device_(device), start_(device->deps_.clock->TimeNow()) {
    MutexLock lock(&device_->mu_);
    device_->busy_since_ = start_;
    device_->busy_allowed_ = allowed;
    device_->doing_ = doing;
  }
  ~BusyScope() {
    const absl::Time now = device_->deps_.clock->TimeNow();
    device_->metrics_->AddBusy(now - start_);
    MutexLock lock(&device_->mu_);
    device_->doing_ = {};
  }
  BusyScope(const BusyScope&) = delete;
  BusyScope& operator=(const BusyScope&) = delete;

 private:
  DeviceThread* const device_;
  const absl::Time start_;
};

DeviceThread::DeviceThread(Options options, std::unique_ptr<Executor> executor, Deps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      policy_(options_.release),
      ladder_(options_.cap.max_batch),
      metrics_(deps_.metrics->AddDevice(options_.name)),
      executor_(std::move(executor)),
      session_(options_.session, RunnerDeps(), deps_.on_moved),
      caps_{{CapController(options_.cap), CapController(options_.cap)}} {}

DeviceThread::~DeviceThread() {
  if (Stop(kEndAllowed)) return;
  LogError("a device hangs and its thread cannot be ended", {{"device", options_.name}});
  std::_Exit(kDeviceFailedExit);
}

BatchRunner::Deps DeviceThread::RunnerDeps() {
  return {.executor = executor_.get(),
          .clock = deps_.clock,
          .metrics = deps_.metrics,
          .device_metrics = metrics_,
          .board = &board_,
          .ledger = deps_.ledger,
          .policy = &policy_,
          .ladder = &ladder_,
          .padded = options_.padded};
}

absl::Status DeviceThread::Start() {
  thread_ = std::thread([this] { Run(); });
  MutexLock lock(&mu_);
  while (!loaded_.has_value() && !given_up_) changed_.Wait(&mu_);
  return loaded_.value_or(DeviceLost());
}

void DeviceThread::Run() {
  SetThreadName(absl::StrCat("device-", options_.number).c_str());
  {
    MutexLock lock(&mu_);
    self_ = pthread_self();
  }
  const absl::Status loaded = Load();
  {
    MutexLock lock(&mu_);
    loaded_ = loaded;
    changed_.SignalAll();
  }
  bool stop = !loaded.ok();
  while (!stop) {
    switch (WaitForWork()) {
      case Next::kStop:
        stop = true;
        break;
      case Next::kMove:
        RunMove();
        break;
      case Next::kBatch:
        RunBatch();
        break;
      case Next::kIdle:
        RunIdle();
        break;
    }
  }
  {  // the device's objects end on its own thread; on MPS nothing else is safe
    const BusyScope busy(this, "the end", kEndAllowed);
    executor_.reset();
  }
  FailInFlight(absl::UnavailableError("the server stopped"), Reason::kDraining);
  MutexLock lock(&mu_);
  ended_ = true;
  changed_.SignalAll();
}

absl::Status DeviceThread::Load() {
  CapController learned(options_.cap);  // not in caps_: others may ask for that one while the model loads
  const absl::Time start = deps_.clock->TimeNow();
  absl::Status status;
  {
    const BusyScope busy(this, "loading the model", kFirstLoadAllowed);
    status = session_.Start(learned);
  }
  idle_since_ = idle_looked_at_ = deps_.clock->TimeNow();
  load_took_ = idle_since_ - start;
  if (!status.ok()) return status;
  metrics_->SetBatchCap(session_.first_tower(), learned.cap().images, learned.cap().set_by);
  MutexLock lock(&mu_);
  caps_[session_.first_tower()] = std::move(learned);
  learned_at_[session_.first_tower()] = idle_since_;  // in the warm-up
  int8_accuracy_ = executor_->int8_accuracy();
  return absl::OkStatus();
}

DeviceThread::Next DeviceThread::WaitForWork() {
  MutexLock lock(&mu_);
  while (true) {
    if (stopping_) return Next::kStop;
    const bool works = !lost_ && !given_up_;
    if (!moves_.empty()) return Next::kMove;
    if (works) {
      waiting_.store(true);
      if (deps_.queue->size() > 0) {
        waiting_.store(false);
        return Next::kBatch;
      }
    }
    wake_.WaitFor(&mu_, options_.idle_period);
    waiting_.store(false);
    if (works && !stopping_ && moves_.empty() && deps_.queue->size() == 0 &&
        deps_.clock->TimeNow() - idle_looked_at_ >= options_.idle_period) {
      return Next::kIdle;
    }
  }
}

bool DeviceThread::WakeIfWaiting() {
  if (!waiting_.load() || !waiting_.exchange(false)) return false;
  // The lock: the thread may be between its look into the queue and its sleep.
  MutexLock lock(&mu_);
  wake_.Signal();
  return true;
}

void DeviceThread::LogBatch(const std::vector<EmbedTask>& tasks, size_t dropped) const {
  if (!LogsDebug()) return;
  const auto bulk = std::count_if(tasks.begin(), tasks.end(),
                                  [](const EmbedTask& task) { return task.lane == Lane::kBulk; });
  const LaneSizes left = deps_.queue->sizes();
  LogDebug("a batch is formed", {{"device", options_.name},
                                 {"tower", tasks.empty() ? "" : TowerName(tasks.front().tower)},
                                 {"images", absl::StrCat(tasks.size())},
                                 {"bulk", absl::StrCat(bulk)},
                                 {"dropped", absl::StrCat(dropped)},
                                 {"interactive_left", absl::StrCat(left.interactive)},
                                 {"bulk_left", absl::StrCat(left.bulk)}});
}

void DeviceThread::RunBatch() {
  BoundedQueue::Wants wants;
  absl::Duration expected;
  {
    const BoundedQueue::Sizes waiting = deps_.queue->sizes();
    MutexLock lock(&mu_);
    for (const Tower tower : kAllTowers) {
      const CapController& cap = caps_[tower];
      BoundedQueue::Want& want = wants[tower];
      want = PlanBatch(waiting, cap, options_.padded);
      if (!TimesAreFreshLocked(tower)) want.batch_time = nullptr;
      absl::Duration of_this = cap.time().Predict(cap.cap().images);
      if (!session_.on_device(tower)) of_this += load_took_;
      expected = std::max(expected, of_this);
    }
  }
  const BusyScope busy(this, "a batch", Watchdog::AllowedTime(expected));
  Batch batch;
  FinishedBatch dropped;
  batch.tasks = deps_.queue->Pop(wants, &dropped);
  LogBatch(batch.tasks, dropped.tasks.size());
  if (!dropped.tasks.empty()) deps_.reply(std::move(dropped));
  if (batch.tasks.empty()) return;

  const Tower tower = batch.tasks.front().tower;
  std::vector<std::shared_ptr<CallSink>> calls;
  for (const EmbedTask& task : batch.tasks) {
    if (calls.empty() || calls.back().get() != task.call()) calls.push_back(task.shared_call());
  }
  {
    MutexLock lock(&mu_);
    in_flight_[tower] = static_cast<int>(batch.tasks.size());
    calls_in_flight_.swap(calls);
  }
  BatchReport report = session_.Run(std::move(batch));
  const bool first_loss = Learn(report);
  deps_.reply(std::move(report.finished));
  {
    MutexLock lock(&mu_);
    in_flight_[tower] = 0;
    calls_in_flight_.swap(calls);  // a call may end where it is dropped: not under the lock
  }
  idle_since_ = idle_looked_at_ = deps_.clock->TimeNow();
  if (first_loss) deps_.on_lost();
}

void DeviceThread::RunMove() {
  if (deps_.wake_another && deps_.queue->size() > 0) deps_.wake_another();
  bool onto_device = false, works = false;
  {
    MutexLock lock(&mu_);
    onto_device = moves_.front().onto_device;
    works = !lost_ && !given_up_;
  }
  absl::Status status = DeviceLost();
  WeightsMove move;
  if (works) {
    const BusyScope busy(this, onto_device ? "a reload" : "an offload", Watchdog::AllowedTime(load_took_));
    move.allocated_before = board_.view().now.allocated;
    const absl::Time start = deps_.clock->TimeNow();
    status = onto_device ? session_.Reload() : session_.Offload();
    move.took = deps_.clock->TimeNow() - start;
    move.allocated_after = board_.view().now.allocated;
  }
  const Reason reason = status.ok()                         ? Reason::kNone
                        : absl::IsResourceExhausted(status) ? Reason::kDeviceMemory
                        : absl::IsUnavailable(status)       ? Reason::kDeviceFailed
                                                            : Reason::kInternalError;
  WeightsMoved done;
  bool first_loss = false;
  {
    MutexLock lock(&mu_);
    done = std::move(moves_.front().done);
    moves_.pop_front();
    if (works && absl::IsUnavailable(status)) first_loss = !std::exchange(lost_, true) && !given_up_;
  }
  if (done && status.ok()) done(move, reason);
  if (done && !status.ok()) done(status, reason);
  if (first_loss) deps_.on_lost();
}

void DeviceThread::RunIdle() {
  idle_looked_at_ = deps_.clock->TimeNow();
  const BusyScope busy(this, "an idle trim or offload", Watchdog::AllowedTime(load_took_));
  session_.OnIdle(idle_looked_at_ - idle_since_);
}

bool DeviceThread::Learn(const BatchReport& report) {
  const MemoryBoard::View memory = board_.view();
  MutexLock lock(&mu_);
  CapController& cap = caps_[report.tower];
  cap.OnMemory(memory.now.limit, memory.baseline);
  learned_at_[report.tower] = deps_.clock->TimeNow();
  for (const Attempt& attempt : report.attempts) {
    if (attempt.out_of_memory) {
      cap.OnOutOfMemory(attempt.bucket);
    } else if (attempt.ok) {
      cap.OnBatch(attempt.images, attempt.bucket, attempt.took, attempt.bytes);
    }
  }
  metrics_->SetBatchCap(report.tower, cap.cap().images, cap.cap().set_by);
  const Tower first = session_.first_tower(), second = first == Tower::kImage ? Tower::kText : Tower::kImage;
  const double usual = RateOf(first), other = RateOf(second);
  if (usual > 0 && other > 0) deps_.queue->SetCost(second, usual / other);
  return report.device_lost && !std::exchange(lost_, true) && !given_up_;
}

void DeviceThread::Move(bool onto_device, WeightsMoved done) {
  {
    MutexLock lock(&mu_);
    if (!lost_ && !given_up_ && !stopping_ && !ended_) {
      moves_.push_back({onto_device, std::move(done)});
      wake_.Signal();
      return;
    }
  }
  done(DeviceLost(), Reason::kDeviceFailed);
}

DeviceThread::Busy DeviceThread::busy() const {
  MutexLock lock(&mu_);
  if (doing_.empty()) return {};
  return {.since = deps_.clock->TimeNow() - busy_since_, .allowed = busy_allowed_, .doing = doing_};
}

absl::Duration DeviceThread::cpu_time() const {
  MutexLock lock(&mu_);
  return doing_.empty() ? absl::ZeroDuration() : ThreadCpuTime(self_);  // it is there as long as it works
}

void DeviceThread::FailInFlight(const absl::Status& status, Reason reason) {
  std::vector<std::shared_ptr<CallSink>> calls;
  std::vector<WeightsMoved> moves;
  {
    MutexLock lock(&mu_);
    calls = calls_in_flight_;
    for (Asked& asked : moves_) {
      if (asked.done) moves.push_back(std::exchange(asked.done, nullptr));
    }
  }
  for (const std::shared_ptr<CallSink>& call : calls) call->Fail(status, reason);
  for (const WeightsMoved& done : moves) done(status, reason);
}

void DeviceThread::GiveUp() {
  MutexLock lock(&mu_);
  given_up_ = true;
  changed_.SignalAll();
}

bool DeviceThread::serving() const {
  MutexLock lock(&mu_);
  return loaded_.has_value() && loaded_->ok() && !lost_ && !given_up_ && !ended_;
}

DeviceThread::Batching DeviceThread::batching() const {
  MutexLock lock(&mu_);
  return {.buckets = caps_[session_.first_tower()].ladder().rungs(),
          .cap = caps_[session_.first_tower()].cap()};
}

std::optional<Int8Accuracy> DeviceThread::int8_accuracy() const {
  MutexLock lock(&mu_);
  return int8_accuracy_;
}

absl::Duration DeviceThread::TimeOf(const PerTower<int>& inputs) const {
  MutexLock lock(&mu_);
  absl::Duration all;
  for (const Tower tower : kAllTowers) {
    const CapController& cap = caps_[tower];
    const int size = cap.cap().images;
    all += inputs[tower] / size * cap.time().Predict(size) + cap.time().Predict(inputs[tower] % size);
  }
  return all;
}

absl::Duration DeviceThread::BatchTime(Tower tower) const {
  MutexLock lock(&mu_);
  const CapController& cap = caps_[tower];
  return cap.time().Predict(cap.cap().images);
}

double DeviceThread::Rate() const {
  MutexLock lock(&mu_);
  return RateOf(session_.first_tower());
}

double DeviceThread::RateOf(Tower tower) const {
  const CapController& cap = caps_[tower];
  return cap.time().Rate(cap.cap().images);
}

PerTower<int> DeviceThread::in_flight() const {
  MutexLock lock(&mu_);
  return in_flight_;
}

bool DeviceThread::TimesAreFresh(Tower tower) const {
  MutexLock lock(&mu_);
  return TimesAreFreshLocked(tower);
}

bool DeviceThread::TimesAreFreshLocked(Tower tower) const {
  return in_flight_[tower] > 0 || deps_.clock->TimeNow() - learned_at_[tower] < kTimesStayFresh;
}

bool DeviceThread::Stop(absl::Duration limit) {
  if (!thread_.joinable()) return true;
  {
    const absl::Time give_up_at = Clock::Real()->TimeNow() + limit;
    MutexLock lock(&mu_);
    stopping_ = true;
    wake_.Signal();
    while (!ended_) {
      const absl::Duration left = give_up_at - Clock::Real()->TimeNow();
      if (left <= absl::ZeroDuration()) return false;
      changed_.WaitFor(&mu_, left);
    }
  }
  thread_.join();
  return true;
}

}  // namespace embedd
