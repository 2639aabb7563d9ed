// SPDX-License-Identifier: Apache-2.0

#include "tests/property/random_road.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "server/reply/reply_stage.h"

namespace embedd {
namespace {

constexpr int kDimension = 3;
constexpr int64_t kPixelBytes = 3;

double HalfValue(uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  const double value = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -value : value;
}

}  // namespace

// A call that checks what it is told: each input once, each row its own, the end once.
class RandomRoad::Call final : public CallSink {
 public:
  Call(RandomRoad* road, PendingCall::Options options, uint64_t flow, Lane lane)
      : flow(flow),
        lane(lane),
        road_(road),
        options_(options),
        answers_(options.inputs, 0),
        failed_(options.inputs, false),
        pending_(options, road->metrics_, [this](CallResult result) { OnDone(std::move(result)); }) {
    for (uint32_t i = 0; i < options.inputs; ++i) bytes.push_back(static_cast<uint8_t>(road->Pick(256)));
  }

  void OnAnswer(uint32_t index, Answer answer) override {
    if (index >= answers_.size()) return road_->Expect(false, "an answer for an input that is none");
    road_->Expect(++answers_[index] == 1, "an input was answered twice");
    road_->Expect((answer.outcome == Outcome::kOk) == answer.status.ok(), "outcome and status disagree");
    RoadTotals& totals = *road_->totals_;
    ++totals.inputs;
    failed_[index] = answer.outcome != Outcome::kOk;
    switch (answer.outcome) {
      case Outcome::kOk: {
        ++totals.ok;
        const std::vector<float> want = FakeExecutor::FakeRow(bytes[index], kDimension);
        road_->Expect(std::equal(want.begin(), want.end(), answer.row.begin(), answer.row.end()),
                      "a row of another image");
        road_->Expect(answer.batch_id != 0 && answer.batch_size > 0, "a row without a batch");
        break;
      }
      case Outcome::kRejected:
        ++totals.rejected;
        break;
      case Outcome::kExpired:
        ++totals.expired;
        break;
      case Outcome::kCancelled:
        ++totals.cancelled;
        road_->Expect(dead(), "cancelled though its caller is there");
        break;
      case Outcome::kFailed:
        ++totals.failed;
        if (answer.reason == Reason::kBadOutput) ++road_->bad_output_answers_;
        break;
      case Outcome::kRefused:
        road_->Expect(false, "refused after it entered");
    }
    pending_.OnAnswer(index, std::move(answer));
    if (pending_.dead()) MarkDead();
  }

  void Cancel() {
    pending_.Cancel();
    MarkDead();
  }

  // After the end of the schedule.
  void CheckEnd() const {
    for (const int answers : answers_) road_->Expect(answers == 1, "an input was never answered");
    road_->Expect(ends_ == 1, "a call did not end exactly once");
  }

  const uint64_t flow;
  const Lane lane;
  std::vector<uint8_t> bytes;  // of each input: tells its row
  int64_t last_popped = -1;

 private:
  void OnDone(CallResult result) {
    ++ends_;
    if (!result.status.ok()) {
      road_->Expect(result.reason != Reason::kNone && result.data.empty(), "a failed call with rows");
      return;
    }
    ++road_->totals_->ok_calls;
    const size_t width = BytesPerNumber(options_.encoding);
    if (result.data.size() != bytes.size() * kDimension * width) {
      return road_->Expect(false, "not one row per input");
    }
    size_t failures = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      std::vector<float> want = FakeExecutor::FakeRow(bytes[i], kDimension);
      double norm = 0;
      for (const float v : want) norm += double{v} * v;
      const double scale = failed_[i] ? 0 : options_.normalize ? 1 / std::sqrt(norm) : 1;
      for (size_t k = 0; k < kDimension; ++k) {
        const char* at = result.data.data() + (i * kDimension + k) * width;
        double got = 0;
        if (width == 4) {
          float v;
          std::memcpy(&v, at, 4);
          got = v;
        } else {
          uint16_t v;
          std::memcpy(&v, at, 2);
          got = HalfValue(v);
        }
        road_->Expect(
            std::abs(got - want[k] * scale) <= std::abs(want[k]) * scale * (width == 4 ? 1e-6 : 1e-3),
            "a wrong number in the reply");
      }
      if (failed_[i]) {
        road_->Expect(failures < result.failures.size() && result.failures[failures].index == i,
                      "a failure not listed");
        ++failures;
      }
    }
    road_->Expect(failures == result.failures.size(), "a failure listed that was none");
  }

  RandomRoad* const road_;
  const PendingCall::Options options_;
  std::vector<int> answers_;
  std::vector<bool> failed_;
  int ends_ = 0;
  PendingCall pending_;
};

RandomRoad::RandomRoad(uint64_t seed, Metrics* metrics, RoadTotals* totals)
    : random_(seed),
      metrics_(metrics),
      totals_(totals),
      steps_left_(10 + static_cast<int>(Pick(30))),
      padded_(Chance(0.5)),
      with_deadlines_(Chance(0.5)),
      trouble_(Chance(0.5) ? 0.1 : 0),
      ms_fixed_(Pick(30)),
      ms_per_image_(Chance(0.2) ? 100 : 1 + Pick(10)),
      policy_({.kind = static_cast<ReleaseKind>(Pick(4))}),
      cap_({.max_batch = std::vector<int>{1, 2, 3, 8, 16, 48, 64}[Pick(7)],
            .latency_target = absl::Milliseconds(std::vector<int>{0, 50, 200}[Pick(3)]),
            .padded = padded_}),
      executor_({.dimension = kDimension}),
      budget_({.images = 1 + static_cast<int>(Pick(100)), .bytes = kPixelBytes * (1 + Pick(100))}),
      queue_({}, &clock_),
      session_({.blank = {{std::vector<uint8_t>(kPixelBytes, 127)}}},
               {.executor = &executor_,
                .clock = &clock_,
                .metrics = metrics,
                .device_metrics = metrics->AddDevice("cpu"),
                .board = &board_,
                .ledger = &ledger_,
                .policy = &policy_,
                .ladder = &cap_.ladder(),
                .padded = padded_}) {
  if (Chance(0.5)) {
    executor_.SetScript({.on_run = [this](int, int bucket) {
      clock_.AdvanceTime(absl::Milliseconds(ms_fixed_ + ms_per_image_ * bucket));
      return absl::OkStatus();
    }});
    Expect(session_.Start(cap_).ok(), "the start");
  } else {
    Expect(session_.Reload().ok(), "the load");
  }
  executor_.SetScript({.on_run = [this](int, int bucket) { return OnRun(bucket); },
                       .on_rows = [this](absl::Span<float> rows) { OnRows(rows); }});
}

RandomRoad::~RandomRoad() = default;

std::string RandomRoad::Play() {
  while (broken_.empty() && steps_left_-- > 0) Step();
  while (broken_.empty() && !lost_ && queue_.size() > 0) RunOne();
  CheckEnd();
  return broken_;
}

void RandomRoad::Step() {
  const uint32_t what = Pick(100);
  if (what < 45) return NewCall();
  if (what < 53) return CancelOne();
  if (what < 58) return ChangeLimit();
  if (what < 63) return clock_.AdvanceTime(PickMs(300));
  if (what < 65 && !lost_) {
    Expect(session_.Offload().ok(), "the offload");
    Expect(executor_.memory().Read().allocated == 0, "something is left after the offload");
    return;
  }
  RunOne();
}

void RandomRoad::NewCall() {
  const uint32_t inputs = 1 + Pick(Chance(0.1) ? 60 : 10);
  absl::StatusOr<Places> places = budget_.Reserve(static_cast<int>(inputs), inputs * kPixelBytes);
  if (!places.ok()) {
    ++totals_->refused_calls;
    const bool never =
        static_cast<int>(inputs) > budget_.options().images || inputs * kPixelBytes > budget_.options().bytes;
    Expect(never ? absl::IsOutOfRange(places.status()) : absl::IsResourceExhausted(places.status()),
           "the refusal");
    Expect(never || budget_.usage().images > 0, "an empty server refused a call that fits");
    return;
  }
  const PendingCall::Options options{.inputs = inputs,
                                     .dimension = kDimension,
                                     .encoding = Chance(0.3) ? RowEncoding::kFloat16 : RowEncoding::kFloat32,
                                     .normalize = Chance(0.7)};
  auto call = std::make_shared<Call>(this, options, Pick(4), Chance(0.3) ? Lane::kBulk : Lane::kInteractive);
  calls_.push_back(call);
  const absl::Time deadline =
      with_deadlines_ && Chance(0.6) ? clock_.TimeNow() + PickMs(2000) : absl::InfiniteFuture();
  for (uint32_t i = 0; i < inputs; ++i) {
    EmbedTask task(call, i);
    task.place = places->Take(1, kPixelBytes);
    if (Chance(0.03)) {
      task.Finish(Answer::Failure(Outcome::kRejected, absl::InvalidArgumentError("not an image"),
                                  Reason::kCorruptImage));
      continue;
    }
    task.pixels.reset(new uint8_t[kPixelBytes]{call->bytes[i], 0, 0});
    task.lane = call->lane;
    task.flow = call->flow;
    task.deadline = deadline;
    queue_.Push(std::move(task));
  }
}

void RandomRoad::CancelOne() {
  if (calls_.empty()) return;
  Call& call = *calls_[Pick(static_cast<uint32_t>(calls_.size()))];
  call.Cancel();
  if (Chance(0.5)) queue_.DropDead(call.flow);
}

void RandomRoad::ChangeLimit() {
  const FakeExecutor::Options o;
  const int64_t images = Chance(0.3) ? 0 : 1 + Pick(70);  // 0: no limit
  // Sometimes not even one image fits, but the weights always do.
  const int64_t bytes = Chance(0.1) ? 0 : o.fixed_bytes + images * o.bytes_per_image;
  executor_.counting_memory().SetLimit(images == 0 ? 0 : o.weight_bytes + bytes);
}

Batch RandomRoad::FormBatch() {
  const CapController::Cap cap = cap_.cap();
  const int waiting = queue_.size();
  Batch batch{.tasks = queue_.Pop(PlanBatch(queue_.sizes(), cap_, padded_))};
  Expect(queue_.size() < waiting, "a batch was formed and nothing left the queue");
  const int images = static_cast<int>(batch.tasks.size());
  Expect(images <= cap.images, "a batch above the cap");
  for (const EmbedTask& task : batch.tasks) {
    Expect(!task.dead(), "an image of a dead call in a batch");
    Expect(task.deadline > clock_.TimeNow(), "an expired image in a batch");
    Expect(task.lane == Lane::kInteractive || images <= cap.bulk, "a batch with bulk above bulk's cap");
    Call& call = const_cast<Call&>(static_cast<const Call&>(*task.call()));
    Expect(int64_t{task.index()} > call.last_popped, "images of a call out of order");
    call.last_popped = task.index();
  }
  return batch;
}

void RandomRoad::RunOne() {
  if (lost_ || queue_.size() == 0) return;
  Batch batch = FormBatch();
  if (batch.tasks.empty()) return;
  const int wanted = static_cast<int>(batch.tasks.size());
  const size_t images = batch.tasks.size();
  BatchReport report = session_.Run(std::move(batch));

  ++totals_->batches;
  Expect(report.finished.tasks.size() == images && report.finished.answers.size() == images,
         "an image got lost");
  Expect(report.attempts.empty() || report.attempts.front().images == wanted,
         "device work for a call that was dead or expired before its batch began");
  for (const Attempt& attempt : report.attempts) {
    ++totals_->attempts;
    totals_->out_of_memory += attempt.out_of_memory;
    if (attempt.ok) totals_->padding += attempt.bucket - attempt.images;
    Expect(attempt.bytes.unreleased() == 0, "a batch kept memory");
    Expect(attempt.bucket == (padded_ ? cap_.ladder().Up(attempt.images) : attempt.images), "the bucket");
  }
  const int64_t allocated = executor_.memory().Read().allocated;
  Expect(allocated == board_.view().baseline, "allocated is not back at the baseline");
  Expect(board_.view().now.allocated == allocated, "the board does not show the last reading");
  Learn(report);
  DeliverAnswers(std::move(report.finished));
  if (report.device_lost) {
    totals_->lost_devices += !lost_;
    lost_ = true;
    queue_.FailAll(absl::UnavailableError("the device was lost"), Reason::kDeviceFailed);
  }
}

void RandomRoad::Learn(const BatchReport& report) {
  const MemoryBoard::View memory = board_.view();
  cap_.OnMemory(memory.now.limit, memory.baseline);
  for (const Attempt& attempt : report.attempts) {
    if (attempt.out_of_memory) {
      cap_.OnOutOfMemory(attempt.bucket);
    } else if (attempt.ok) {
      cap_.OnBatch(attempt.images, attempt.bucket, attempt.took, attempt.bytes);
    }
  }
}

absl::Status RandomRoad::OnRun(int bucket) {
  Expect(!lost_, "a lost device was touched");
  clock_.AdvanceTime(absl::Milliseconds(ms_fixed_ + ms_per_image_ * bucket * (Chance(0.1) ? 3 : 1)));
  if (steps_left_ > 0 && Chance(0.15)) NewCall();
  if (Chance(0.1)) CancelOne();
  if (!Chance(trouble_)) return absl::OkStatus();
  switch (Pick(40)) {
    case 0:
      return absl::UnavailableError("gone");
    case 1:
      executor_.counting_memory().SetGarbage(true);
      return absl::OkStatus();
    default:
      if (Chance(0.5)) return absl::ResourceExhaustedError("scripted");
      if (Chance(0.5)) return absl::InternalError("scripted");
      throw std::runtime_error("scripted");
  }
}

void RandomRoad::OnRows(absl::Span<float> rows) {
  if (!Chance(trouble_) || !executor_.memory().CheckSane().ok()) return;
  float* row = rows.data() + kDimension * Pick(static_cast<uint32_t>(rows.size() / kDimension));
  if (Chance(0.5)) {
    row[Pick(kDimension)] =
        Chance(0.5) ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  } else {
    std::fill_n(row, kDimension, 0.0f);
  }
  ++spoiled_rows_;
  ++totals_->bad_rows;
}

void RandomRoad::CheckEnd() {
  for (const auto& call : calls_) call->CheckEnd();
  Expect(queue_.size() == 0, "the queue is not empty");
  Expect(budget_.usage().images == 0, "places are not given back");
  Expect(budget_.usage().bytes == 0, "bytes are not given back");
  Expect(bad_output_answers_ == spoiled_rows_, "a spoiled row was not found, or a good one refused");
}

}  // namespace embedd
