// SPDX-License-Identifier: Apache-2.0

#include "server/device/batch_runner.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "server/reply/reply_stage.h"
#include "server/support/log.h"
#include "tests/support/catch.h"
#include "tests/support/device_rig.h"
#include "tests/support/metric_value.h"

namespace embedd {
namespace {

struct Fixture : DeviceRig {
  explicit Fixture(Options options = {}) : DeviceRig(options), runner(deps()) {
    static const bool quiet = (ConfigureLogging("error", "text"), true);
    (void)quiet;
    REQUIRE(executor.Load(Tower::kImage).ok());
  }
  // Runs a batch of `n` images of `call` and hands the answers out.
  BatchReport Run(int n) { return Run(MakeBatch(call, n)); }
  BatchReport Run(Batch batch) {
    BatchReport report = runner.Run(std::move(batch));
    DeliverAnswers(std::move(report.finished));
    return report;
  }
  std::vector<std::string> Outcomes() const {
    std::vector<std::string> outcomes;
    for (const BatchRecord& record : ledger.Last()) outcomes.emplace_back(record.outcome);
    return outcomes;
  }

  BatchRunner runner;
  std::shared_ptr<RecordingCall> call = std::make_shared<RecordingCall>();
};

void CheckRow(const Fixture& f, uint32_t index) {
  const RecordingCall::Told told = f.call->told(index);
  INFO("image " << index);
  CHECK(told.answer.outcome == Outcome::kOk);
  CHECK(told.row == FakeExecutor::FakeRow(static_cast<uint8_t>(index), 4));
}

TEST_CASE("Each image of a batch gets its own row") {
  Fixture f;
  const BatchReport report = f.Run(5);
  for (uint32_t i = 0; i < 5; ++i) CheckRow(f, i);
  REQUIRE(report.attempts.size() == 1);
  CHECK(report.attempts[0].images == 5);
  CHECK(report.attempts[0].ok);
  CHECK_FALSE(report.device_lost);
}

TEST_CASE("Where whole rungs run the batch is padded to its bucket; elsewhere it is not") {
  Fixture plain, padded({.padded = true});
  CHECK(plain.Run(5).attempts[0].bucket == 5);
  CHECK(padded.Run(5).attempts[0].bucket == 8);
  CHECK(MetricValue(plain.metrics, "embedd_batch_padding_total") == 0);
  CHECK(MetricValue(padded.metrics, "embedd_batch_padding_total") == 3);
  CHECK(MetricValue(padded.metrics, "embedd_batch_size_sum") == 5);
}

TEST_CASE("An answer tells how long it waited, how long it ran, and in which batch") {
  Fixture f;
  f.executor.SetScript({.on_run = [&](int, int) {
    f.clock.AdvanceTime(absl::Milliseconds(30));
    return absl::OkStatus();
  }});
  Batch batch = f.MakeBatch(f.call, 2);
  batch.tasks[1].decode_took = absl::Milliseconds(4);
  f.clock.AdvanceTime(absl::Milliseconds(20));
  f.Run(std::move(batch));
  f.Run(f.MakeBatch(std::make_shared<RecordingCall>(), 1));
  const Answer answer = f.call->answer(1);
  CHECK(answer.decode == absl::Milliseconds(4));
  CHECK(answer.queue == absl::Milliseconds(20));
  CHECK(answer.execute == absl::Milliseconds(30));
  CHECK(answer.batch_id == 1);
  CHECK(answer.batch_size == 2);
}

TEST_CASE("Each attempt leaves a record: size, bucket, calls, memory, times, outcome") {
  Fixture f;
  Batch batch = f.MakeBatch(f.call, 2);
  batch.tasks.push_back(MakeTask(std::make_shared<RecordingCall>(), 0));
  batch.tasks[2].queued_at = f.clock.TimeNow() - absl::Seconds(1);
  f.Run(std::move(batch));
  REQUIRE(f.ledger.Last().size() == 1);
  const BatchRecord record = f.ledger.Last()[0];
  CHECK(record.id == 1);
  CHECK(record.size == 3);
  CHECK(record.bucket == 3);
  CHECK(record.requests == 2);
  CHECK(record.bytes.before == 1000);
  CHECK(record.bytes.peak == 1000 + 100 + 3 * 100);
  CHECK(record.bytes.after == 1000);
  CHECK(record.queue == absl::Seconds(1));
  CHECK(record.outcome == "ok");
  CHECK(MetricValue(f.metrics, "embedd_batch_released_bytes_total") == 400);
  CHECK(MetricValue(f.metrics, "embedd_batch_unreleased_bytes") == 0);
}

TEST_CASE("Out of memory: both halves run, order kept, and nobody notices") {
  Fixture f;
  f.LimitToBatchOf(2);
  const BatchReport report = f.Run(8);
  for (uint32_t i = 0; i < 8; ++i) CheckRow(f, i);
  CHECK(f.call->order() == std::vector<uint32_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(f.executor.batch_sizes() == std::vector<int>{2, 2, 2, 2});
  CHECK(f.Outcomes() ==
        std::vector<std::string>{"oom_split", "oom_split", "ok", "ok", "oom_split", "ok", "ok"});
  CHECK(report.attempts.size() == 7);
  CHECK(MetricValue(f.metrics, "embedd_device_oom_total{outcome=\"split\"}") == 3);
  CHECK(MetricValue(f.metrics, "embedd_batch_size_sum") == 8);
  CHECK(f.call->answer(0).batch_size == 2);
  CHECK(f.allocated() == 1000);
}

TEST_CASE("An odd batch is split so that nothing is lost") {
  Fixture f;
  f.LimitToBatchOf(1);
  f.Run(7);
  for (uint32_t i = 0; i < 7; ++i) CheckRow(f, i);
}

TEST_CASE("Splitting is bounded: log2(n) + 1 levels") {
  Fixture f;
  f.LimitToBatchOf(0);
  const BatchReport report = f.Run(8);
  // 1 of eight, 2 of four, 4 of two, 8 of one, and each of these once more.
  CHECK(report.attempts.size() == 1 + 2 + 4 + 8 + 8);
}

TEST_CASE("An image that does not fit even alone fails alone, with DEVICE_MEMORY") {
  Fixture f;
  int calls = 0;
  f.executor.SetScript({.on_run = [&](int images, int) {
    // The image at position 2 is the one that is too large; parts that hold it: 0-3, 2-3, 2.
    ++calls;
    const bool holds_it = calls == 1 || calls == 3 || calls == 4 || calls == 5;
    (void)images;
    return holds_it ? absl::ResourceExhaustedError("no") : absl::OkStatus();
  }});
  f.Run(4);
  for (const uint32_t i : {0u, 1u, 3u}) CheckRow(f, i);
  const Answer failed = f.call->answer(2);
  CHECK(failed.outcome == Outcome::kFailed);
  CHECK(failed.reason == Reason::kDeviceMemory);
  CHECK(absl::IsResourceExhausted(failed.status));
  CHECK(f.Outcomes() ==
        std::vector<std::string>{"oom_split", "ok", "oom_split", "oom_split", "oom_failed", "ok"});
  CHECK(MetricValue(f.metrics, "embedd_device_oom_total{outcome=\"failed\"}") == 1);
}

// Counts what the runner does to make room; a batch fits once enough was done.
class CrowdedMemory final : public DeviceMemory {
 public:
  MemoryReading Read() override { return {}; }
  void ResetPeak() override {}
  void Trim() override { ++trims; }
  void DropCompiledGraphs() override { ++drops; }
  absl::Status CheckSane() override { return absl::OkStatus(); }
  int trims = 0, drops = 0;
};
class CrowdedExecutor final : public Executor {
 public:
  absl::Status Load(Tower) override { return absl::OkStatus(); }
  absl::Status Offload() override { return absl::OkStatus(); }
  bool loaded(Tower) const override { return true; }
  absl::Status Run(Tower, absl::Span<const uint8_t* const>, int, absl::Span<float> rows) override {
    if (memory_.trims < trims_needed || memory_.drops < drops_needed)
      return absl::ResourceExhaustedError("full");
    std::fill(rows.begin(), rows.end(), 1.0f);
    return absl::OkStatus();
  }
  void Synchronize() override { ++synchronised; }
  CrowdedMemory& memory() override { return memory_; }
  int dimension() const override { return 4; }

  int trims_needed = 0, drops_needed = 0, synchronised = 0;

 private:
  CrowdedMemory memory_;
};

TEST_CASE(
    "Trimming comes first; compiled graphs are dropped only for an image alone that trimming did not help") {
  const auto [images, trims_needed, drops_needed, drops, ok] = GENERATE(table<int, int, int, int, bool>({
      {1, 1, 0, 0, true},    // a trim was enough
      {1, 0, 1, 1, true},    // it took the graphs
      {4, 1, 0, 0, true},    // halves fit after a trim
      {4, 3, 0, 1, true},    // 4, 2 and 1 failed: the graphs went with the third trim
      {1, 99, 99, 1, false}  // nothing helps: tried once with graphs dropped, no more
  }));
  Fixture f;
  CrowdedExecutor crowded;
  crowded.trims_needed = trims_needed;
  crowded.drops_needed = drops_needed;
  BatchRunner::Deps deps = f.deps();
  deps.executor = &crowded;
  BatchRunner runner(deps);
  BatchReport report = runner.Run(f.MakeBatch(f.call, images));
  INFO(images << " " << trims_needed << " " << drops_needed);
  CHECK((report.finished.answers[0].outcome == Outcome::kOk) == ok);
  CHECK(crowded.memory().drops == drops);
  CHECK(crowded.synchronised >= 1);  // before each trim
}

TEST_CASE("Between the parts of a split, calls that died or expired drop out without device work") {
  Fixture f;
  auto dying = std::make_shared<RecordingCall>();
  Batch batch = f.MakeBatch(f.call, 2);
  batch.tasks.push_back(MakeTask(dying, 0));
  batch.tasks.push_back(MakeTask(f.call, 3, {.deadline = f.clock.TimeNow() + absl::Seconds(1), .byte = 3}));
  for (EmbedTask& task : batch.tasks) task.queued_at = f.clock.TimeNow();
  f.LimitToBatchOf(3);
  f.executor.SetScript({.on_run = [&](int, int) {
    dying->MarkDead();
    f.clock.AdvanceTime(absl::Seconds(2));
    return absl::OkStatus();
  }});
  f.Run(std::move(batch));
  CheckRow(f, 0);
  CheckRow(f, 1);
  CHECK(dying->answer(0).outcome == Outcome::kCancelled);
  CHECK(f.call->answer(3).outcome == Outcome::kExpired);
  CHECK(absl::IsDeadlineExceeded(f.call->answer(3).status));
  CHECK(f.executor.batch_sizes() == std::vector<int>{2});
}

TEST_CASE("No device work for a call that died or expired after its batch was formed") {
  Fixture f;
  auto dead = std::make_shared<RecordingCall>();
  Batch batch = f.MakeBatch(f.call, 2);
  batch.tasks.push_back(MakeTask(dead, 0));
  batch.tasks.push_back(MakeTask(f.call, 3, {.deadline = f.clock.TimeNow()}));
  dead->MarkDead();
  f.Run(std::move(batch));
  CHECK(f.executor.batch_sizes() == std::vector<int>{2});
  CHECK(dead->answer(0).outcome == Outcome::kCancelled);
  CHECK(f.call->answer(3).outcome == Outcome::kExpired);
  f.call = dead = std::make_shared<RecordingCall>();
  dead->MarkDead();
  f.Run(3);
  CHECK(f.executor.batch_sizes().size() == 1);
  CHECK(dead->answers() == 3);
}

TEST_CASE("Rows stay with their images when a part has a gap") {
  Fixture f;
  auto dead = std::make_shared<RecordingCall>();
  Batch batch = f.MakeBatch(f.call, 8);
  batch.tasks[5].Finish(Answer());
  batch.tasks[5] = MakeTask(dead, 0);
  f.LimitToBatchOf(4);
  f.executor.SetScript({.on_run = [&](int, int) {
    dead->MarkDead();  // while the first half runs
    return absl::OkStatus();
  }});
  f.Run(std::move(batch));
  for (const uint32_t i : {0u, 1u, 2u, 3u, 4u, 6u, 7u}) CheckRow(f, i);
  CHECK(f.executor.batch_sizes() == std::vector<int>{4, 3});
}

TEST_CASE("A bad row fails its image with BAD_OUTPUT and spares the neighbours") {
  Fixture f;
  f.executor.SetScript({.on_rows = [](absl::Span<float> rows) {
    rows[4] = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(rows.begin() + 8, 4, 0.0f);
  }});
  const BatchReport report = f.Run(4);
  CheckRow(f, 0);
  CheckRow(f, 3);
  for (const uint32_t i : {1u, 2u}) {
    CHECK(f.call->answer(i).reason == Reason::kBadOutput);
    CHECK(absl::IsInternal(f.call->answer(i).status));
    CHECK(f.call->told(i).row.empty());
  }
  CHECK(f.Outcomes() == std::vector<std::string>{"bad_output"});
  CHECK(report.attempts[0].ok);  // the device did run
  CHECK(MetricValue(f.metrics, "embedd_batch_size_sum") == 2);
}

TEST_CASE(
    "A batch that fails fails its images with INTERNAL_ERROR, gives its memory back, and the next one runs") {
  Fixture f;
  bool by_exception = GENERATE(false, true);
  f.executor.SetScript({.on_run = [=](int, int) -> absl::Status {
    if (by_exception) throw std::runtime_error("boo");
    return absl::InternalError("secret path");
  }});
  const BatchReport report = f.Run(3);
  CHECK_FALSE(report.device_lost);
  CHECK_FALSE(report.attempts[0].ok);
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK(f.call->answer(i).outcome == Outcome::kFailed);
    CHECK(absl::IsInternal(f.call->answer(i).status));
    CHECK(f.call->answer(i).reason == Reason::kInternalError);
    CHECK(f.call->answer(i).status.message().find("secret") == std::string::npos);
  }
  CHECK(f.Outcomes() == std::vector<std::string>{"failed"});
  CHECK(f.allocated() == 1000);
  CHECK(f.ledger.Last()[0].bytes.unreleased() == 0);

  f.executor.SetScript({});
  f.call = std::make_shared<RecordingCall>();
  f.Run(2);
  CheckRow(f, 1);
}

TEST_CASE("A device that says it is gone is lost: UNAVAILABLE, DEVICE_FAILED") {
  Fixture f;
  f.executor.SetScript({.on_run = [](int, int) { return absl::UnavailableError("gone"); }});
  CHECK(f.Run(2).device_lost);
  CHECK(absl::IsUnavailable(f.call->answer(0).status));
  CHECK(f.call->answer(1).reason == Reason::kDeviceFailed);
  CHECK(f.Outcomes() == std::vector<std::string>{"device_failed"});
}

TEST_CASE("Garbage counters are a lost device, within one batch, never an out-of-memory") {
  Fixture f;
  f.LimitToBatchOf(
      1);  // as after fork(): the batch fails for want of memory because the counters are nonsense
  f.executor.counting_memory().SetGarbage(true);
  const BatchReport report = f.Run(4);
  CHECK(report.device_lost);
  CHECK(report.attempts.size() == 1);
  for (uint32_t i = 0; i < 4; ++i) CHECK(f.call->answer(i).reason == Reason::kDeviceFailed);
}

TEST_CASE("Rows that came with garbage counters are not handed out, and teach nothing") {
  Fixture f;
  f.executor.counting_memory().SetGarbage(true);
  const BatchReport report = f.Run(2);
  CHECK(report.device_lost);
  CHECK_FALSE(report.attempts[0].ok);
  CHECK(f.call->answer(1).reason == Reason::kDeviceFailed);
  CHECK(MetricValue(f.metrics, "embedd_batch_size_sum") == 0);
}

TEST_CASE("When the device is lost during a split, the parts that wait are answered and do not run") {
  Fixture f;
  f.LimitToBatchOf(4);
  f.executor.SetScript({.on_run = [](int, int) { return absl::UnavailableError("gone"); }});
  const BatchReport report = f.Run(8);
  CHECK(report.attempts.size() == 2);
  CHECK(f.call->answers() == 8);
  CHECK(f.call->answer(7).reason == Reason::kDeviceFailed);
}

TEST_CASE("What a batch keeps raises the alarm metric, until a batch is clean again") {
  Fixture f;
  f.executor.SetScript({.leak_bytes = 64});
  f.Run(2);
  CHECK(MetricValue(f.metrics, "embedd_batch_unreleased_bytes") == 64);
  CHECK(f.ledger.Last()[0].bytes.unreleased() == 64);
  f.executor.SetScript({});
  f.call = std::make_shared<RecordingCall>();
  f.Run(2);
  CHECK(MetricValue(f.metrics, "embedd_batch_unreleased_bytes") == 0);
}

TEST_CASE("The policy decides about the cache after each batch") {
  Fixture never, always({.policy = {.kind = ReleaseKind::kAlways}});
  never.Run(4);
  always.Run(4);
  CHECK(never.executor.counting_memory().trims() == 0);
  CHECK(always.executor.counting_memory().trims() == 1);
}

TEST_CASE("The board shows the counters of the last batch") {
  Fixture f;
  f.Run(3);
  CHECK(f.board.view().now.allocated == 1000);
  CHECK(f.board.view().highest_peak == 1400);
}

TEST_CASE("An empty batch is no batch") {
  Fixture f;
  const BatchReport report = f.Run(Batch{});
  CHECK(report.attempts.empty());
  CHECK(f.ledger.Last().empty());
}

}  // namespace
}  // namespace embedd
