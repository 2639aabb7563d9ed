// SPDX-License-Identifier: Apache-2.0

#include "server/reply/reply_stage.h"

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/metric_value.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

// A batch of `n` images of `call` from `first` on; row i is {first + i}.
FinishedBatch MakeBatch(const std::shared_ptr<CallSink>& call, uint32_t first, uint32_t n) {
  FinishedBatch batch;
  for (uint32_t i = 0; i < n; ++i) {
    batch.rows.push_back(static_cast<float>(first + i));
    batch.tasks.push_back(MakeTask(call, first + i));
  }
  for (uint32_t i = 0; i < n; ++i) {
    Answer answer;
    answer.outcome = Outcome::kOk;
    answer.row = absl::MakeConstSpan(batch.rows).subspan(i, 1);
    batch.answers.push_back(std::move(answer));
  }
  return batch;
}

TEST_CASE("Each task of a batch gets its own answer, in order") {
  auto call = std::make_shared<RecordingCall>();
  DeliverAnswers(MakeBatch(call, 0, 3));
  CHECK(call->order() == std::vector<uint32_t>{0, 1, 2});
  for (uint32_t i = 0; i < 3; ++i) CHECK(call->told(i).row == std::vector<float>{static_cast<float>(i)});
}

TEST_CASE("What was sent is delivered in order, all of it, before the stage stops") {
  Metrics metrics;
  auto call = std::make_shared<RecordingCall>();
  ReplyStage stage(Clock::Real(), &metrics);
  for (uint32_t i = 0; i < 50; ++i) stage.Send(MakeBatch(call, 2 * i, 2));
  stage.Stop();
  stage.Stop();  // again: nothing
  REQUIRE(call->answers() == 100);
  const std::vector<uint32_t> order = call->order();
  for (uint32_t i = 0; i < 100; ++i) {
    REQUIRE(order[i] == i);
    REQUIRE(call->told(i).row == std::vector<float>{static_cast<float>(i)});
  }
  CHECK(MetricValue(metrics, "embedd_stage_seconds_count{stage=\"reply\"}") == 50);
}

TEST_CASE("Many threads may send") {
  Metrics metrics;
  auto call = std::make_shared<RecordingCall>();
  {
    ReplyStage stage(Clock::Real(), &metrics);
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (uint32_t i = 0; i < 50; ++i) stage.Send(MakeBatch(call, t * 100 + 2 * i, 2));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  CHECK(call->answers() == 400);
}

TEST_CASE("A batch sent after the stop is still answered, as a failure") {
  Metrics metrics;
  auto call = std::make_shared<RecordingCall>();
  {
    ReplyStage stage(Clock::Real(), &metrics);
    stage.Stop();
    stage.Send(MakeBatch(call, 0, 1));
  }
  CHECK(call->answer(0).outcome == Outcome::kFailed);
}

}  // namespace
}  // namespace embedd
