// SPDX-License-Identifier: Apache-2.0

#include "server/device/device_session.h"

#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "server/reply/reply_stage.h"
#include "server/support/log.h"
#include "tests/support/catch.h"
#include "tests/support/device_rig.h"

namespace embedd {
namespace {

struct Fixture : DeviceRig {
  explicit Fixture(DeviceSession::Options session_options = {}, Options options = {})
      : DeviceRig(options),
        session((session_options.blank = {{std::vector<uint8_t>(3, 127), std::vector<uint8_t>(8)}},
                 session_options),
                deps(), [this](bool on_device) { moves.push_back(on_device); }) {
    ConfigureLogging("error", "text");
  }
  // Each batch takes c + a * bucket milliseconds.
  void TakeTime(int c, int a) {
    executor.SetScript({.on_run = [=, this](int, int bucket) {
      clock.AdvanceTime(absl::Milliseconds(c + a * bucket));
      return absl::OkStatus();
    }});
  }
  BatchReport Run(int n) {
    BatchReport report = session.Run(MakeBatch(call, n));
    DeliverAnswers(std::move(report.finished));
    return report;
  }

  std::vector<bool> moves;  // of the weights, as it told
  DeviceSession session;
  CapController cap{{.max_batch = 8}};
  std::shared_ptr<RecordingCall> call = std::make_shared<RecordingCall>();
};

TEST_CASE("Start loads the weights, runs every rung and teaches the cap") {
  Fixture f;
  f.TakeTime(10, 20);
  REQUIRE(f.session.Start(f.cap).ok());
  CHECK(f.executor.loads() == 1);
  CHECK(f.executor.batch_sizes() == std::vector<int>{1, 1, 2, 2, 4, 4, 8, 8});
  CHECK(absl::ToDoubleMilliseconds(f.cap.time().Predict(8)) == Approx(170));
  CHECK(f.session.on_device(Tower::kImage));
  CHECK(f.moves.empty());
  CHECK(f.board.view().baseline == 1000);
  CHECK(f.allocated() == 1000);
  CHECK(f.ledger.Last().empty());  // not a batch of a caller
}

TEST_CASE("Where shapes are not compiled the warm-up stops at a slow rung") {
  Fixture f;
  f.TakeTime(0, 300);
  REQUIRE(f.session.Start(f.cap).ok());
  CHECK(f.executor.batch_sizes() == std::vector<int>{1, 1, 2, 2});
}

TEST_CASE("Where shapes are compiled the warm-up runs every rung, however slow") {
  Fixture f({}, {.padded = true});
  f.TakeTime(0, 300);
  REQUIRE(f.session.Start(f.cap).ok());
  CHECK(f.executor.batch_sizes().size() == 8);
}

TEST_CASE("A rung that does not fit at the start is a cap, not a failure") {
  Fixture f;
  f.LimitToBatchOf(5);
  REQUIRE(f.session.Start(f.cap).ok());
  CHECK(f.cap.cap().images <= 4);
  CHECK(f.executor.counting_memory().trims() >= 1);
}

TEST_CASE("When not even one image fits, the start fails and leaves nothing on the device") {
  Fixture f;
  f.LimitToBatchOf(0);
  CHECK(absl::IsResourceExhausted(f.session.Start(f.cap)));
  CHECK_FALSE(f.session.on_device(Tower::kImage));
  CHECK(f.allocated() == 0);
}

TEST_CASE("Weights that do not fit stop the start") {
  Fixture f;
  f.executor.counting_memory().SetLimit(10);
  CHECK(absl::IsResourceExhausted(f.session.Start(f.cap)));
}

TEST_CASE("A model that gives no finite vector for a grey picture does not serve") {
  Fixture f;
  f.executor.SetScript(
      {.on_rows = [](absl::Span<float> rows) { rows[0] = std::numeric_limits<float>::infinity(); }});
  CHECK(absl::IsDataLoss(f.session.Start(f.cap)));
  CHECK(f.allocated() == 0);
}

TEST_CASE("Offloading takes the weights away and tells so; the next batch brings them back") {
  Fixture f;
  REQUIRE(f.session.Start(f.cap).ok());
  REQUIRE(f.session.Offload().ok());
  CHECK(f.allocated() == 0);
  CHECK(f.board.view().baseline == 0);
  CHECK(f.moves == std::vector<bool>{false});
  REQUIRE(f.session.Offload().ok());  // away already

  f.Run(2);
  CHECK(f.call->answer(1).outcome == Outcome::kOk);
  CHECK(f.executor.loads() == 2);
  CHECK(f.board.view().baseline == 1000);
  CHECK(f.moves == std::vector<bool>{false, true});
  f.call = std::make_shared<RecordingCall>();
  f.Run(1);
  REQUIRE(f.session.Reload().ok());
  CHECK(f.executor.loads() == 2);  // there already
}

TEST_CASE("The text tower comes with the first text, leaves with the image tower, and both come back") {
  DeviceRig::Options both;
  both.executor.text_weight_bytes = 500;
  Fixture f({}, both);
  REQUIRE(f.session.Start(f.cap).ok());
  CHECK(f.allocated() == 1000);  // a tower that is never used takes nothing

  Batch texts = f.MakeBatch(f.call, 2);
  for (EmbedTask& task : texts.tasks) task.tower = Tower::kText;
  BatchReport report = f.session.Run(std::move(texts));
  CHECK(report.tower == Tower::kText);
  DeliverAnswers(std::move(report.finished));
  CHECK(f.call->answer(1).outcome == Outcome::kOk);
  CHECK(f.allocated() == 1500);
  CHECK(f.board.view().baseline == 1500);
  CHECK(f.ledger.Last().back().tower == Tower::kText);
  CHECK(f.ledger.Last().back().bytes.unreleased() == 0);

  REQUIRE(f.session.Offload().ok());
  CHECK(f.allocated() == 0);
  REQUIRE(f.session.Reload().ok());
  CHECK(f.session.on_device(Tower::kImage));
  CHECK(f.session.on_device(Tower::kText));
  CHECK(f.moves == std::vector<bool>{false, true});
}

TEST_CASE("Where only texts are served the image tower never comes") {
  DeviceRig::Options both;
  both.executor.text_weight_bytes = 500;
  DeviceRig rig(both);
  DeviceSession session({.blank = {{{}, std::vector<uint8_t>(8)}}}, rig.deps());
  CapController cap({.max_batch = 8});
  REQUIRE(session.Start(cap).ok());
  CHECK_FALSE(session.on_device(Tower::kImage));
  CHECK(rig.allocated() == 500);
  CHECK(cap.time().Predict(1) >= absl::ZeroDuration());
}

TEST_CASE("The weights leave after the idle time, not before, and once") {
  Fixture f({.idle_offload = absl::Seconds(60)});
  REQUIRE(f.session.Start(f.cap).ok());
  f.session.OnIdle(absl::Seconds(59));
  CHECK(f.session.on_device(Tower::kImage));
  f.session.OnIdle(absl::Seconds(60));
  CHECK_FALSE(f.session.on_device(Tower::kImage));
  const int trims = f.executor.counting_memory().trims();
  f.session.OnIdle(absl::Seconds(61));
  CHECK(f.executor.counting_memory().trims() == trims);
}

TEST_CASE("Without --idle-offload the weights stay") {
  Fixture f;
  REQUIRE(f.session.Start(f.cap).ok());
  f.session.OnIdle(absl::Hours(100));
  CHECK(f.session.on_device(Tower::kImage));
  CHECK(f.allocated() == 1000);
}

TEST_CASE(
    "When the weights do not fit any more, the batch fails with DEVICE_MEMORY and the device is not lost") {
  Fixture f;
  REQUIRE(f.session.Start(f.cap).ok());
  REQUIRE(f.session.Offload().ok());
  f.executor.counting_memory().SetLimit(500);
  CHECK_FALSE(f.Run(2).device_lost);
  CHECK(f.call->answer(0).reason == Reason::kDeviceMemory);
  CHECK(absl::IsResourceExhausted(f.call->answer(1).status));
  f.executor.counting_memory().SetLimit(0);
  f.call = std::make_shared<RecordingCall>();
  f.Run(1);
  CHECK(f.call->answer(0).outcome == Outcome::kOk);
}

TEST_CASE("An idle trim happens once in a pause, also where it cannot empty the cache") {
  Fixture f({}, {.policy = {.kind = ReleaseKind::kIdle, .idle_after = absl::Seconds(5)}});
  REQUIRE(f.session.Start(f.cap).ok());
  const int before = f.executor.counting_memory().trims();
  f.Run(4);
  f.session.OnIdle(absl::Seconds(4));
  CHECK(f.executor.counting_memory().trims() == before);
  f.session.OnIdle(absl::Seconds(5));
  CHECK(f.executor.counting_memory().trims() == before + 1);
  // Something that a trim does not give back: a cache again.
  REQUIRE(f.executor.counting_memory().Allocate(100).ok());
  f.executor.counting_memory().Free(100);
  f.session.OnIdle(absl::Seconds(6));
  CHECK(f.executor.counting_memory().trims() == before + 1);
  f.call = std::make_shared<RecordingCall>();
  f.Run(4);
  f.session.OnIdle(absl::Seconds(5));
  CHECK(f.executor.counting_memory().trims() == before + 2);
}

TEST_CASE(
    "A device that fails five batches and then a grey picture too is lost; a good batch starts the count "
    "again") {
  Fixture f;
  REQUIRE(f.session.Start(f.cap).ok());
  bool fail = true, throws = GENERATE(false, true);
  f.executor.SetScript({.on_run = [&](int, int) -> absl::Status {
    if (fail && throws) throw std::runtime_error("no");
    return fail ? absl::InternalError("no") : absl::OkStatus();
  }});
  const auto run = [&] {
    f.call = std::make_shared<RecordingCall>();
    return f.Run(1).device_lost;
  };
  for (int i = 0; i < 4; ++i) CHECK_FALSE(run());
  fail = false;
  CHECK_FALSE(run());
  fail = true;
  for (int i = 0; i < 4; ++i) CHECK_FALSE(run());
  CHECK(run());
}

TEST_CASE("Inputs that make every batch fail do not lose the device, however many come") {
  Fixture f;
  REQUIRE(f.session.Start(f.cap).ok());
  f.executor.SetScript({.on_inputs = [](absl::Span<const uint8_t* const> images) {
    return images[0][0] == 66 ? absl::InternalError("a kernel failed") : absl::OkStatus();
  }});
  for (int i = 0; i < 50; ++i) {
    auto call = std::make_shared<RecordingCall>();
    Batch batch;
    batch.tasks.push_back(MakeTask(call, 0, {.byte = 66}));
    BatchReport report = f.session.Run(std::move(batch));
    DeliverAnswers(std::move(report.finished));
    REQUIRE_FALSE(report.device_lost);
    REQUIRE(call->answer(0).reason == Reason::kInternalError);
  }
  f.Run(1);
  CHECK(f.call->answer(0).outcome == Outcome::kOk);
}

TEST_CASE("Out of memory is no failure of the device, however often") {
  Fixture f;
  REQUIRE(f.session.Start(f.cap).ok());
  f.LimitToBatchOf(0);
  for (int i = 0; i < 10; ++i) {
    f.call = std::make_shared<RecordingCall>();
    CHECK_FALSE(f.Run(1).device_lost);
  }
}

TEST_CASE("Once the device is lost nothing touches it any more") {
  Fixture f({.idle_offload = absl::Seconds(1)},
            {.policy = {.kind = ReleaseKind::kIdle, .idle_after = absl::Seconds(1)}});
  REQUIRE(f.session.Start(f.cap).ok());
  int runs = 0;
  f.executor.SetScript({.on_run = [&](int, int) {
    ++runs;
    return absl::UnavailableError("gone");
  }});
  CHECK(f.Run(1).device_lost);
  const int trims = f.executor.counting_memory().trims();
  f.call = std::make_shared<RecordingCall>();
  CHECK(f.Run(2).device_lost);  // one more batch
  CHECK(f.call->answer(1).reason == Reason::kDeviceFailed);
  CHECK(runs == 1);
  f.session.OnIdle(absl::Hours(1));
  CHECK(absl::IsUnavailable(f.session.Offload()));
  CHECK(absl::IsUnavailable(f.session.Reload()));
  CHECK(f.executor.counting_memory().trims() == trims);
  CHECK(f.allocated() == 1000);
}

}  // namespace
}  // namespace embedd
