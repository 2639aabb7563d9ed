// SPDX-License-Identifier: Apache-2.0
//
// The whole memory policy against the fake MPS: BatchRunner, BatchMemory, ReleasePolicy, real error texts,
// real rules of heaps and watermarks.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>

#include "server/device/batch_runner.h"
#include "server/release/torch_device_memory.h"
#include "tests/fake_mps/fake_mps.h"
#include "tests/fake_mps/fake_mps_executor.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;

class Caller final : public CallSink {
 public:
  void OnAnswer(uint32_t, Answer) override {}
};

// The road below the scheduler, on a fresh fake device.
class Road {
 public:
  Road(int64_t recommended, int64_t limit, ReleaseKind kind) : policy_({.kind = kind}), ladder_(64) {
    FakeMps::Get().Reset(recommended);
    auto memory = CreateTorchDeviceMemory(DeviceKind::kMps, limit);
    REQUIRE(memory.ok());
    executor_ = std::make_unique<FakeMpsExecutor>(*std::move(memory));
    REQUIRE(executor_->Load(Tower::kImage).ok());
    runner_ = std::make_unique<BatchRunner>(BatchRunner::Deps{.executor = executor_.get(),
                                                              .clock = &clock_,
                                                              .metrics = &metrics_,
                                                              .device_metrics = metrics_.AddDevice("cpu"),
                                                              .board = &board_,
                                                              .ledger = &ledger_,
                                                              .policy = &policy_,
                                                              .ladder = &ladder_,
                                                              .padded = true});
  }

  // A batch of n images whose first pixels are first, first + 1, ...
  BatchReport Run(int n, int first = 0) {
    Batch batch;
    for (int i = 0; i < n; ++i) {
      EmbedTask task(caller_, static_cast<uint32_t>(i));
      task.pixels = std::make_unique<uint8_t[]>(1);
      task.pixels[0] = static_cast<uint8_t>(first + i);
      task.queued_at = clock_.TimeNow();
      batch.tasks.push_back(std::move(task));
    }
    return runner_->Run(std::move(batch));
  }

  // Images of the report that did not come back with their own row.
  static int LostOrWrong(const BatchReport& report, int first) {
    int bad = 0;
    for (size_t i = 0; i < report.finished.answers.size(); ++i) {
      const Answer& answer = report.finished.answers[i];
      const bool good =
          answer.outcome == Outcome::kOk && answer.row.size() == FakeMpsExecutor::kDimension &&
          answer.row[0] == static_cast<float>(static_cast<uint8_t>(first + static_cast<int>(i))) + 1;
      bad += good ? 0 : 1;
    }
    return bad;
  }

  FakeMpsExecutor& executor() { return *executor_; }
  BatchRunner& runner() { return *runner_; }
  BatchLedger& ledger() { return ledger_; }
  int64_t allocated() { return executor_->memory().Read().allocated; }

 private:
  SimulatedClock clock_;
  Metrics metrics_;
  MemoryBoard board_;
  BatchLedger ledger_;
  ReleasePolicy policy_;
  BucketLadder ladder_;
  std::shared_ptr<Caller> caller_ = std::make_shared<Caller>();
  std::unique_ptr<FakeMpsExecutor> executor_;
  std::unique_ptr<BatchRunner> runner_;
};

TEST_CASE(
    "10,000 batches of random sizes under a cap that one attempt in ten passes: nothing lost, nothing kept") {
  // Weights take 165 MiB; a batch of more than 32 images is padded to 64 and does not fit, its halves do.
  Road road(16 * kGiB, 330 * kMiB, ReleaseKind::kWatermark);
  const int64_t baseline = road.allocated();
  std::mt19937 random(4);
  int lost = 0;
  int64_t unreleased = 0, above_limit = 0, highest_reserved = 0;
  for (int batch = 0; batch < 10'000; ++batch) {
    const int n = 1 + static_cast<int>(random() % 36), first = static_cast<int>(random() % 256);
    const BatchReport report = road.Run(n, first);
    lost += Road::LostOrWrong(report, first);
    REQUIRE_FALSE(report.device_lost);
    for (const Attempt& attempt : report.attempts) {
      unreleased += attempt.bytes.unreleased();
      above_limit += attempt.bytes.peak > 330 * kMiB;
    }
    if (batch % 100 == 99) {
      REQUIRE(road.allocated() == baseline);
      highest_reserved = std::max(highest_reserved, road.executor().memory().Read().driver);
    }
  }
  const double share = static_cast<double>(road.executor().out_of_memory) / road.executor().runs;
  CHECK(lost == 0);
  CHECK(unreleased == 0);
  CHECK(above_limit == 0);
  CHECK(highest_reserved <= 330 * kMiB + kGiB);  // a heap may be opened whole at the limit
  CHECK(share > 0.05);
  CHECK(share < 0.15);
  CHECK_FALSE(road.runner().leak_watch().leaking());

  // Then the counters turn to garbage, as after fork(): noticed with the next batch, which is not split for
  // it.
  FakeMps::Get().heaps().SetGarbage((uint64_t{1} << 56) + 12345);
  const int before = road.executor().runs;
  const BatchReport report = road.Run(16);
  CHECK(report.device_lost);
  CHECK(road.executor().runs == before + 1);
  for (const Answer& answer : report.finished.answers) {
    CHECK(absl::IsUnavailable(answer.status));
    CHECK(answer.reason == Reason::kDeviceFailed);
  }
  CHECK(road.ledger().Last(1).at(0).outcome == "device_failed");
  FakeMps::Get().heaps().SetGarbage(0);
}

TEST_CASE("compiled graphs are dropped only after a plain trim did not help, and then the image fits") {
  Road road(16 * kGiB, 800 * kMiB, ReleaseKind::kNever);
  road.executor().graph_bytes = 150 * kMiB;
  for (const int n : {1, 2, 4}) CHECK(Road::LostOrWrong(road.Run(n), 0) == 0);
  CHECK(FakeMps::Get().graph_drops == 0);
  FakeMps::Get().SetOther(200 * kMiB);  // now graphs, weights and somebody else leave no room for anything
  const BatchReport report = road.Run(1);
  CHECK(Road::LostOrWrong(report, 0) == 0);
  CHECK(FakeMps::Get().graph_drops == 1);
  CHECK(FakeMps::Get().graphs() == 1);  // that of this batch, compiled again
}

TEST_CASE("--release always gives every heap of the batch back, never keeps them") {
  Road always(16 * kGiB, 0, ReleaseKind::kAlways);
  const int64_t weights = always.executor().memory().Read().reserved;
  always.Run(64);
  CHECK(always.executor().memory().Read().reserved == weights);
}

TEST_CASE("a batch that keeps memory is counted, and a slow leak is found") {
  Road road(16 * kGiB, 0, ReleaseKind::kNever);
  road.executor().leak_bytes = 2048;
  for (int batch = 0; batch < 600; ++batch) {
    const BatchReport report = road.Run(4);
    REQUIRE(report.attempts.at(0).bytes.unreleased() >=
            2048);  // more when a larger cached buffer was at hand
  }
  CHECK(road.runner().leak_watch().leaking());
  CHECK(road.runner().leak_watch().slope() >= 2048);
}

TEST_CASE("offloading takes every byte of the model off the device, and loading brings the same back") {
  Road road(16 * kGiB, 0, ReleaseKind::kWatermark);
  const int64_t baseline = road.allocated();
  road.Run(8);
  REQUIRE(road.executor().Offload().ok());
  CHECK(road.allocated() == 0);
  CHECK(road.executor().memory().Read().reserved == 0);
  REQUIRE(road.executor().Load(Tower::kImage).ok());
  CHECK(road.allocated() == baseline);
  CHECK(Road::LostOrWrong(road.Run(8), 0) == 0);
}

}  // namespace
}  // namespace embedd
