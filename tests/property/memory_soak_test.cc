// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "server/reply/reply_stage.h"
#include "tests/support/catch.h"
#include "tests/support/device_rig.h"
#include "tests/support/metric_value.h"
#include "tests/support/quiet_stderr.h"

namespace embedd {
namespace {

// Counts its answers and checks each row; cheap enough for hundreds of thousands of images.
class RowChecker final : public CallSink {
 public:
  explicit RowChecker(size_t images) : answers(images, 0) {}
  void OnAnswer(uint32_t index, Answer answer) override {
    ++answers[index];
    const std::vector<float> want = FakeExecutor::FakeRow(static_cast<uint8_t>(index), 4);
    wrong += answer.outcome != Outcome::kOk || !std::equal(want.begin(), want.end(), answer.row.begin());
  }
  std::vector<int> answers;
  int wrong = 0;
};

TEST_CASE(
    "Ten thousand batches of random sizes, one attempt in ten out of memory: nothing lost, wrong or kept") {
  const QuietStderr quiet;
  const bool padded = GENERATE(false, true);
  DeviceRig rig({.max_batch = 64, .padded = padded});
  BatchRunner runner(rig.deps());
  REQUIRE(rig.executor.Load(Tower::kImage).ok());
  std::mt19937 random(20261124);
  int64_t images = 0, attempts = 0, out_of_memory = 0, wrong = 0, lost = 0, kept = 0, off_baseline = 0;
  for (int i = 0; i < 10'000; ++i) {
    const int size = 1 + static_cast<int>(random() % 64);
    // Now and then there is room for a half, or a quarter, of the batch only.
    rig.executor.counting_memory().SetLimit(0);
    if (size >= 4 && random() % 30 == 0) {
      const int fits = rig.ladder.Down(size) / (random() % 3 == 0 ? 4 : 2);
      rig.LimitToBatchOf(fits);
    }
    auto call = std::make_shared<RowChecker>(static_cast<size_t>(size));
    BatchReport report = runner.Run(rig.MakeBatch(call, size));
    DeliverAnswers(std::move(report.finished));
    for (const Attempt& attempt : report.attempts) {
      ++attempts;
      out_of_memory += attempt.out_of_memory;
      kept += attempt.bytes.unreleased();
    }
    images += size;
    wrong += call->wrong;
    for (const int answers : call->answers) lost += answers != 1;
    off_baseline += rig.allocated() != 1000;
  }
  CHECK(wrong == 0);
  CHECK(lost == 0);
  CHECK(kept == 0);
  CHECK(off_baseline == 0);
  CHECK_FALSE(runner.leak_watch().leaking());
  CHECK(MetricValue(rig.metrics, "embedd_batch_size_sum") == images);
  CHECK(MetricValue(rig.metrics, "embedd_batch_unreleased_bytes") == 0);
  INFO(out_of_memory << " of " << attempts << " attempts ran out of memory");
  CHECK(out_of_memory > attempts * 0.08);
  CHECK(out_of_memory < attempts * 0.12);
}

}  // namespace
}  // namespace embedd
