// SPDX-License-Identifier: Apache-2.0

#include "server/queue/embed_task.h"

#include <memory>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

Answer Ok() {
  Answer answer;
  answer.outcome = Outcome::kOk;
  return answer;
}

TEST_CASE("A task tells its call the answer, under its index, and is empty afterwards") {
  auto call = std::make_shared<RecordingCall>();
  EmbedTask task = MakeTask(call, 7);
  CHECK_FALSE(task.empty());
  task.Finish(Ok());
  CHECK(task.empty());
  CHECK(call->answer(7).outcome == Outcome::kOk);
}

TEST_CASE("A task that is destroyed unanswered answers itself as a bug of the server") {
  auto call = std::make_shared<RecordingCall>();
  { const EmbedTask task = MakeTask(call, 3); }
  CHECK(call->answer(3).outcome == Outcome::kFailed);
  CHECK(absl::IsInternal(call->answer(3).status));
  CHECK(call->answer(3).reason == Reason::kInternalError);
}

TEST_CASE("Moving a task moves the duty to answer, once") {
  auto call = std::make_shared<RecordingCall>();
  {
    EmbedTask a = MakeTask(call, 0, {.lane = Lane::kBulk, .flow = 9, .byte = 42});
    EmbedTask b = std::move(a);
    EmbedTask c;
    c = std::move(b);
    CHECK(call->answers() == 0);
    CHECK(c.index() == 0);
    CHECK(c.flow == 9);
    CHECK(c.lane == Lane::kBulk);
    CHECK(c.pixels[0] == 42);
    c.Finish(Ok());
  }
  CHECK(call->answers() == 1);
}

TEST_CASE("A task that another one is moved onto is answered first") {
  auto call = std::make_shared<RecordingCall>();
  EmbedTask a = MakeTask(call, 0), b = MakeTask(call, 1);
  a = std::move(b);
  CHECK(call->answer(0).reason == Reason::kInternalError);
  CHECK(call->answers() == 1);
  EmbedTask& same = a;
  a = std::move(same);
  CHECK(call->answers() == 1);
  a.Finish(Ok());
  CHECK(call->answer(1).outcome == Outcome::kOk);
}

// Looks at the budget in the moment of the answer.
class CallThatLooks final : public CallSink {
 public:
  explicit CallThatLooks(PlaceBudget* budget) : budget_(budget) {}
  void OnAnswer(uint32_t, Answer) override { images_then = budget_->usage().images; }
  int images_then = -1;

 private:
  PlaceBudget* budget_;
};

TEST_CASE("The place is free before the caller hears the answer") {
  PlaceBudget budget({.images = 1, .bytes = 10});
  auto call = std::make_shared<CallThatLooks>(&budget);
  EmbedTask task(call, 0);
  task.place = *budget.Reserve(1, 10);
  task.Finish(Ok());
  CHECK(call->images_then == 0);
  CHECK(task.pixels == nullptr);
}

TEST_CASE("A task keeps its call alive until it is answered, and no longer") {
  auto call = std::make_shared<RecordingCall>();
  std::weak_ptr<RecordingCall> watch = call;
  EmbedTask task(std::move(call), 0);
  CHECK_FALSE(watch.expired());
  task.Finish(Ok());
  CHECK(watch.expired());
}

TEST_CASE("A task is dead when its call is") {
  auto call = std::make_shared<RecordingCall>();
  EmbedTask task(call, 0);
  CHECK_FALSE(task.dead());
  call->MarkDead();
  CHECK(task.dead());
  task.Finish(Ok());
}

}  // namespace
}  // namespace embedd
