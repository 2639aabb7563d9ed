// SPDX-License-Identifier: Apache-2.0

#include "server/queue/bounded_queue.h"

#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

struct Fixture {
  SimulatedClock clock;
  BoundedQueue queue{{}, &clock};
  std::shared_ptr<RecordingCall> call = std::make_shared<RecordingCall>();

  void Push(uint32_t index, TaskOptions options = {}) { queue.Push(MakeTask(call, index, options)); }
  void PushMany(uint32_t first, int n, TaskOptions options = {}) {
    for (int i = 0; i < n; ++i) Push(first + static_cast<uint32_t>(i), options);
  }
  // The indexes of a batch of at most `n`; its tasks are answered.
  std::vector<uint32_t> Pop(int n) { return Pop({.max_images = n, .max_with_bulk = n}); }
  std::vector<uint32_t> Pop(const BoundedQueue::Want& want) {
    std::vector<uint32_t> indexes;
    for (EmbedTask& task : queue.Pop(want)) {
      indexes.push_back(task.index());
      Answer answer;
      answer.outcome = Outcome::kOk;
      task.Finish(std::move(answer));
    }
    return indexes;
  }
  absl::Time In(absl::Duration d) const { return clock.TimeNow() + d; }
};

using Indexes = std::vector<uint32_t>;

TEST_CASE("Images of one flow leave in the order they came") {
  Fixture f;
  f.PushMany(0, 5);
  CHECK(f.queue.size() == 5);
  CHECK(f.Pop(3) == Indexes{0, 1, 2});
  CHECK(f.Pop(3) == Indexes{3, 4});
  CHECK(f.Pop(3).empty());
  CHECK(f.queue.size() == 0);
}

TEST_CASE("A batch holds inputs of one tower: that of the task whose turn it is; the others are next") {
  Fixture f;
  f.Push(0, {.flow = 1, .tower = Tower::kText});
  f.Push(1, {.flow = 2});
  f.Push(2, {.flow = 1, .tower = Tower::kText});
  f.Push(3, {.flow = 2});
  const Indexes first = f.Pop(8), second = f.Pop(8);
  CHECK(f.Pop(8).empty());
  CHECK(std::set<Indexes>{first, second} == std::set<Indexes>{{0, 2}, {1, 3}});
}

TEST_CASE("Each tower has its own cap") {
  Fixture f;
  f.PushMany(0, 4, {.tower = Tower::kText});
  f.PushMany(4, 4);
  const BoundedQueue::Want two{.max_images = 2, .max_with_bulk = 2},
      three{.max_images = 3, .max_with_bulk = 3};
  std::vector<EmbedTask> texts = f.queue.Pop(BoundedQueue::Wants{{three, two}});
  REQUIRE(texts.size() == 2);
  CHECK(texts[0].tower == Tower::kText);
  while (f.queue.size() > 4) f.queue.Pop(BoundedQueue::Wants{{three, two}});
  CHECK(f.queue.Pop(BoundedQueue::Wants{{three, two}}).size() == 3);
}

TEST_CASE("The time of queueing is written on the task") {
  Fixture f;
  f.clock.AdvanceTime(absl::Seconds(3));
  f.Push(0);
  std::vector<EmbedTask> batch = f.queue.Pop({.max_images = 1});
  CHECK(batch[0].queued_at == f.clock.TimeNow());
}

TEST_CASE("Flows take turns: a call of a thousand images does not hold up a neighbour's single one") {
  Fixture f;
  f.PushMany(0, 100, {.flow = 1});
  CHECK(f.Pop(10).size() == 10);
  f.PushMany(1000, 2, {.flow = 2});
  CHECK(f.Pop(4) == Indexes{10, 1000, 11, 1001});
}

TEST_CASE("A flow that comes late starts where the others are: it has no turns to catch up on") {
  Fixture f;
  f.PushMany(0, 100, {.flow = 1});
  f.Pop(50);
  f.PushMany(1000, 50, {.flow = 2});
  f.PushMany(2000, 50, {.flow = 3});
  int flow1 = 0;
  for (const uint32_t index : f.Pop(30)) flow1 += index < 1000;
  CHECK(flow1 == 10);
}

TEST_CASE("Inside a flow the earliest deadline goes first, then the order of arrival") {
  Fixture f;
  f.Push(0, {.deadline = f.In(absl::Seconds(30))});
  f.Push(1, {.deadline = f.In(absl::Seconds(20))});
  f.Push(2, {.deadline = f.In(absl::Seconds(30))});
  f.Push(3);
  f.Push(4, {.deadline = f.In(absl::Seconds(20))});
  CHECK(f.Pop(5) == Indexes{1, 4, 0, 2, 3});
}

TEST_CASE("A near deadline goes before taking turns, the earliest first") {
  Fixture f;
  f.PushMany(0, 4, {.flow = 1});
  f.PushMany(10, 2, {.flow = 2, .deadline = f.In(absl::Milliseconds(400))});
  f.PushMany(20, 2, {.flow = 3, .deadline = f.In(absl::Milliseconds(300))});
  CHECK(f.Pop(5) == Indexes{20, 21, 10, 11, 0});
}

TEST_CASE("Where batches take long, a deadline is near while two of them still fit before it") {
  Fixture f;
  f.PushMany(0, 4, {.flow = 1});
  f.PushMany(10, 2, {.flow = 2, .deadline = f.In(absl::Milliseconds(1200))});
  f.PushMany(20, 2, {.flow = 3, .deadline = f.In(absl::Milliseconds(1000))});
  const auto batch_time = [](int n) { return absl::Milliseconds(n > 1 ? 400 : 50); };
  CHECK(f.Pop({.max_images = 5, .max_with_bulk = 5, .batch_time = batch_time}) == Indexes{20, 21, 10, 11, 0});
}

TEST_CASE("A far deadline does not buy turns") {
  Fixture f;
  f.PushMany(0, 2, {.flow = 1});
  f.PushMany(10, 2, {.flow = 2, .deadline = f.In(absl::Seconds(60))});
  CHECK(f.Pop(4) == Indexes{0, 10, 1, 11});
}

TEST_CASE("Interactive images go before bulk ones, and bulk fills what is left") {
  Fixture f;
  f.PushMany(0, 4, {.lane = Lane::kBulk});
  f.PushMany(10, 4);
  CHECK(f.queue.sizes().interactive == 4);
  CHECK(f.queue.sizes().bulk == 4);
  CHECK(f.Pop(6) == Indexes{10, 11, 12, 13, 0, 1});
}

TEST_CASE("While bulk waits it gets a tenth of the images, whatever the size of a batch") {
  const int batch = GENERATE(1, 2, 3, 8, 9, 10, 16, 64);
  Fixture f;
  int bulk = 0, all = 0;
  uint32_t next = 0;
  for (int round = 0; round < 400; ++round) {
    for (; f.queue.sizes().interactive < batch; ++next) f.Push(next, {.flow = next % 3});
    while (f.queue.sizes().bulk < batch) f.Push(1'000'000 + next++, {.lane = Lane::kBulk, .flow = 9});
    for (const uint32_t index : f.Pop(batch)) {
      bulk += index >= 1'000'000;
      ++all;
    }
  }
  INFO("batch " << batch);
  CHECK(all == 400 * batch);
  CHECK(bulk >= all / 10 - 1);
  CHECK(bulk <= all / 10 + batch);  // and interactive keeps the rest
}

TEST_CASE("Bulk gets a tenth of the images, and little more, when its batches must be smaller") {
  Fixture f;
  int bulk = 0, all = 0;
  uint32_t next = 0;
  for (int round = 0; round < 400; ++round) {
    while (f.queue.sizes().interactive < 8) f.Push(next++);
    while (f.queue.sizes().bulk < 8) f.Push(1'000'000 + next++, {.lane = Lane::kBulk});
    const Indexes batch = f.Pop({.max_images = 8, .max_with_bulk = 1});
    int bulk_here = 0;
    for (const uint32_t index : batch) bulk_here += index >= 1'000'000;
    if (bulk_here > 0) REQUIRE(batch.size() == 1);
    bulk += bulk_here;
    all += static_cast<int>(batch.size());
  }
  CHECK(bulk >= all / 10 - 1);
  CHECK(bulk <= all / 7);
}

TEST_CASE("A batch with bulk images in it is never larger than bulk batches may be") {
  Fixture f;
  f.PushMany(0, 2);
  f.PushMany(10, 10, {.lane = Lane::kBulk});
  CHECK(f.Pop({.max_images = 8, .max_with_bulk = 4}) == Indexes{0, 1, 10, 11});
  f.PushMany(20, 8);
  CHECK(f.Pop({.max_images = 8, .max_with_bulk = 4}).size() == 8);  // interactive alone
}

TEST_CASE("A waiting interactive image is served by the second batch at the latest, however bulk is owed") {
  for (int with_bulk : {1, 2, 4}) {
    Fixture f;
    uint32_t next = 0;
    f.PushMany(1'000'000, 1000, {.lane = Lane::kBulk});
    for (int round = 0; round < 100; ++round) {
      const uint32_t mine = next++;
      f.Push(mine);
      bool served = false;
      for (int batch = 0; batch < 2 && !served; ++batch) {
        for (const uint32_t index : f.Pop({.max_images = 4, .max_with_bulk = with_bulk}))
          served |= index == mine;
      }
      REQUIRE(served);
    }
  }
}

TEST_CASE("A single image is in the next batch or the one after it, however many texts a batch would hold") {
  Fixture f;
  const BoundedQueue::Want two{.max_images = 2, .max_with_bulk = 2},
      many{.max_images = 64, .max_with_bulk = 64};
  f.PushMany(0, 40, {.lane = Lane::kBulk, .flow = 1});
  int bulk = 0;
  for (uint32_t batch = 0; batch < 200; ++batch) {
    f.Push(1000 + batch, {.flow = 2});
    for (EmbedTask& task : f.queue.Pop(BoundedQueue::Wants{{two, many}})) {
      if (task.lane == Lane::kBulk) {
        ++bulk;
        f.Push(0, {.lane = Lane::kBulk, .flow = 1});
      }
      task.Finish(Answer());
    }
    REQUIRE(f.queue.sizes().interactive <= 1);
  }
  CHECK(bulk >= 150);  // what the singles leave is its
}

TEST_CASE("A dead call's images never reach a batch, and are answered CANCELLED") {
  Fixture f;
  auto dead = std::make_shared<RecordingCall>();
  f.queue.Push(MakeTask(dead, 0));
  f.Push(1);
  f.queue.Push(MakeTask(dead, 2));
  dead->MarkDead();
  CHECK(f.Pop(2) == Indexes{1});
  CHECK(dead->answer(0).outcome == Outcome::kCancelled);
  f.Pop(1);
  CHECK(dead->answer(2).outcome == Outcome::kCancelled);
  CHECK(f.queue.size() == 0);
}

TEST_CASE("An image whose deadline has passed never reaches a batch, and is answered DEADLINE_EXCEEDED") {
  Fixture f;
  f.Push(0, {.deadline = f.In(absl::Seconds(1))});
  f.clock.AdvanceTime(absl::Seconds(1));
  CHECK(f.Pop(4).empty());
  CHECK(f.call->answer(0).outcome == Outcome::kExpired);
  CHECK(absl::IsDeadlineExceeded(f.call->answer(0).status));
  CHECK(f.call->answer(0).reason == Reason::kDeadline);
}

TEST_CASE(
    "What a batch leaves out can be told later: it is given back with its answers, and holds its place") {
  Fixture f;
  auto dead = std::make_shared<RecordingCall>();
  f.queue.Push(MakeTask(dead, 0));
  dead->MarkDead();
  f.Push(1, {.deadline = f.In(absl::Seconds(1))});
  f.Push(2);
  f.clock.AdvanceTime(absl::Seconds(1));
  FinishedBatch dropped;
  const BoundedQueue::Want want{.max_images = 4, .max_with_bulk = 4};
  const std::vector<EmbedTask> batch = f.queue.Pop({want, want}, &dropped);
  REQUIRE(batch.size() == 1);
  CHECK(batch[0].index() == 2);
  REQUIRE(dropped.tasks.size() == 2);
  CHECK_FALSE(dropped.tasks[0].empty());
  CHECK_FALSE(dropped.tasks[1].empty());
  DeliverAnswers(std::move(dropped));
  CHECK(dead->answer(0).outcome == Outcome::kCancelled);
  CHECK(f.call->answer(1).outcome == Outcome::kExpired);
}

TEST_CASE("Until the last of its lane leaves, interactive waits for a tenth of bulk, and bulk for all") {
  Fixture f;
  for (uint32_t i = 0; i < 90; ++i) f.Push(i);
  for (uint32_t i = 90; i < 1000; ++i) f.Push(i, {.lane = Lane::kBulk});
  const auto leave = [](const Fixture& f, Lane lane, LaneSizes more) {
    const PerTower<int> all = f.queue.LeaveUntilLastOf(lane, {{{more}}});
    CHECK(all[Tower::kText] == 0);
    return all[Tower::kImage];
  };
  CHECK(leave(f, Lane::kInteractive, {}) == 100);
  CHECK(leave(f, Lane::kInteractive, {.interactive = 9}) == 110);
  CHECK(leave(f, Lane::kBulk, {.interactive = 9, .bulk = 1}) == 1010);
  Fixture little;
  for (uint32_t i = 0; i < 90; ++i) little.Push(i);
  little.Push(90, {.lane = Lane::kBulk});
  CHECK(leave(little, Lane::kInteractive, {}) == 91);
}

TEST_CASE("What leaves is told by tower: of bulk each tower its share") {
  Fixture f;
  f.PushMany(0, 60);
  f.PushMany(100, 30, {.tower = Tower::kText});
  f.PushMany(200, 75, {.lane = Lane::kBulk});
  f.PushMany(300, 25, {.lane = Lane::kBulk, .tower = Tower::kText});
  const PerTower<int> interactive = f.queue.LeaveUntilLastOf(Lane::kInteractive, {});
  CHECK(interactive[Tower::kImage] == 60 + 8);  // three quarters of ten
  CHECK(interactive[Tower::kText] == 30 + 3);
  const PerTower<int> bulk = f.queue.LeaveUntilLastOf(Lane::kBulk, {});
  CHECK(bulk[Tower::kImage] == 135);
  CHECK(bulk[Tower::kText] == 55);
}

TEST_CASE("Lanes and turns share the device's time: a text costs what it takes beside a picture") {
  Fixture f;
  f.queue.SetCost(Tower::kText, 0.1);
  double texts = 0, pictures = 0;
  const auto run = [&](const TaskOptions& of_texts, const TaskOptions& of_pictures) {
    for (uint32_t i = 0; i < 5000; ++i) f.Push(i, of_texts);
    for (uint32_t i = 0; i < 1000; ++i) f.Push(10000 + i, of_pictures);
    while (texts + pictures < 4000) {
      for (const uint32_t index : f.Pop(8)) ++(index < 10000 ? texts : pictures);
    }
  };
  SECTION("two connections of one lane get as much of it") {
    run({.flow = 1, .tower = Tower::kText}, {.flow = 2});
    CHECK(texts / pictures == Approx(10).epsilon(0.1));
  }
  SECTION("a bulk job of pictures gets a tenth of it beside texts") {
    run({.flow = 1, .tower = Tower::kText}, {.lane = Lane::kBulk, .flow = 2});
    CHECK(pictures / (pictures + 0.1 * texts) == Approx(0.1).epsilon(0.2));
  }
}

TEST_CASE("Counts follow every way out of the queue") {
  Fixture f;
  const auto counts = [&f](Tower tower) { return f.queue.counts().of(tower); };
  auto dead = std::make_shared<RecordingCall>();
  f.PushMany(0, 4, {.tower = Tower::kText});
  f.queue.Push(MakeTask(dead, 0, {.flow = 2}));
  f.queue.Push(MakeTask(dead, 1, {.lane = Lane::kBulk, .flow = 3, .tower = Tower::kText}));
  f.Push(4, {.lane = Lane::kBulk, .flow = 4});
  CHECK(counts(Tower::kImage) == 2);
  CHECK(counts(Tower::kText) == 5);
  dead->MarkDead();
  f.queue.DropDead(2);
  CHECK(counts(Tower::kImage) == 1);
  CHECK(f.Pop(3) == Indexes{0, 1, 2});
  CHECK(counts(Tower::kText) == 2);
  while (!f.Pop(3).empty()) continue;  // the dead one is dropped
  CHECK(counts(Tower::kImage) == 0);
  CHECK(counts(Tower::kText) == 0);
  f.Push(5, {.tower = Tower::kText});
  f.queue.FailAll(absl::UnavailableError("enough"), Reason::kDraining);
  CHECK(counts(Tower::kText) == 0);
}

TEST_CASE("An image that could not meet its deadline even alone costs no device work") {
  Fixture f;
  const auto time = [](int n) { return absl::Milliseconds(100 + 10 * n); };
  f.Push(0, {.deadline = f.In(absl::Milliseconds(110))});
  f.Push(1, {.deadline = f.In(absl::Milliseconds(111))});
  CHECK(f.Pop({.max_images = 4, .max_with_bulk = 4, .batch_time = time}) == Indexes{1});
  CHECK(f.call->answer(0).outcome == Outcome::kExpired);
}

TEST_CASE("A batch stays short enough for its tightest deadline, and the rest waits for the next one") {
  Fixture f;
  const auto time = [](int n) { return absl::Milliseconds(100 * n); };
  f.Push(0, {.flow = 1, .deadline = f.In(absl::Milliseconds(350))});
  f.PushMany(10, 5, {.flow = 2});
  const BoundedQueue::Want want{.max_images = 8, .max_with_bulk = 8, .batch_time = time};
  CHECK(f.Pop(want) == Indexes{0, 10, 11});
  CHECK(f.Pop(want) == Indexes{12, 13, 14});
}

TEST_CASE(
    "While more waits than a batch takes, time is not spent on a deadline that can just be met, or not") {
  const auto time = [](int n) { return absl::Milliseconds(100 * n); };
  // 120 ms are a fifth more than the image takes, a quarter more than that is asked for.
  SECTION("nobody else waits") {
    Fixture f;
    f.Push(0, {.deadline = f.In(absl::Milliseconds(120))});
    CHECK(f.Pop({.max_images = 1, .max_with_bulk = 1, .batch_time = time}) == Indexes{0});
  }
  SECTION("others wait") {
    Fixture f;
    f.Push(0, {.deadline = f.In(absl::Milliseconds(120))});
    f.Push(1, {.deadline = f.In(absl::Milliseconds(130))});
    CHECK(f.Pop({.max_images = 1, .max_with_bulk = 1, .batch_time = time}) == Indexes{1});
    CHECK(f.call->answer(0).outcome == Outcome::kExpired);
  }
}

TEST_CASE("Dropping a flow's dead images answers them at once and leaves the others") {
  Fixture f;
  auto dead = std::make_shared<RecordingCall>();
  f.queue.Push(MakeTask(dead, 0, {.flow = 5}));
  f.Push(1, {.flow = 5});
  f.queue.Push(MakeTask(dead, 2, {.lane = Lane::kBulk, .flow = 5}));
  f.queue.Push(MakeTask(dead, 3, {.flow = 6}));
  dead->MarkDead();
  f.queue.DropDead(5);
  CHECK(dead->answers() == 2);
  CHECK(f.queue.sizes().interactive == 2);
  CHECK(f.queue.sizes().bulk == 0);
  f.queue.DropDead(77);  // nobody
  CHECK(f.Pop(4) == Indexes{1});
  CHECK(dead->answers() == 3);
}

TEST_CASE("After FailAll every image, and every later one, gets the same failure at once") {
  Fixture f;
  f.Push(0);
  f.Push(1, {.lane = Lane::kBulk});
  f.queue.FailAll(absl::UnavailableError("the device was lost"), Reason::kDeviceFailed);
  f.Push(2);
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK(f.call->answer(i).outcome == Outcome::kFailed);
    CHECK(absl::IsUnavailable(f.call->answer(i).status));
    CHECK(f.call->answer(i).reason == Reason::kDeviceFailed);
  }
  CHECK(f.queue.size() == 0);
}

TEST_CASE("A queue that is destroyed answers what is in it") {
  auto call = std::make_shared<RecordingCall>();
  SimulatedClock clock;
  {
    BoundedQueue queue({}, &clock);
    queue.Push(MakeTask(call, 0));
  }
  CHECK(absl::IsUnavailable(call->answer(0).status));
}

TEST_CASE("The listener hears of each push, with no lock held") {
  Fixture f;
  int heard = 0;
  f.queue.SetPushListener([&] {
    ++heard;
    CHECK(f.queue.size() == heard);  // would hang if the lock were held
  });
  f.Push(0);
  f.Push(1);
  CHECK(heard == 2);
}

// A call that pushes another image when it hears that one was dropped.
class CallThatPushes final : public CallSink {
 public:
  CallThatPushes(Fixture* f) : f_(f) {}
  void OnAnswer(uint32_t, Answer) override { f_->Push(99); }

 private:
  Fixture* const f_;
};

TEST_CASE("Answers are given with no lock held: an answer may push again") {
  Fixture f;
  auto call = std::make_shared<CallThatPushes>(&f);
  f.queue.Push(MakeTask(call, 0));
  call->MarkDead();
  CHECK(f.Pop(1).empty());
  CHECK(f.Pop(1) == Indexes{99});
}

TEST_CASE("Many threads push, one pops: nothing is lost and nothing comes twice") {
  SimulatedClock clock;
  BoundedQueue queue({}, &clock);
  auto call = std::make_shared<RecordingCall>();
  std::atomic<int> left{4};
  std::vector<std::thread> pushers;
  for (uint32_t t = 0; t < 4; ++t) {
    pushers.emplace_back([&, t] {
      for (uint32_t i = 0; i < 250; ++i) {
        queue.Push(
            MakeTask(call, t * 250 + i, {.lane = i % 2 ? Lane::kBulk : Lane::kInteractive, .flow = t}));
        if (i % 50 == 0) queue.DropDead(t);
      }
      --left;
    });
  }
  while (left > 0 || queue.size() > 0) {
    for (EmbedTask& task : queue.Pop({.max_images = 7, .max_with_bulk = 7})) task.Finish(Answer());
    std::this_thread::yield();
  }
  for (std::thread& thread : pushers) thread.join();
  CHECK(call->answers() == 1000);
  for (uint32_t i = 0; i < 1000; ++i) REQUIRE_NOTHROW(call->told(i));
}

}  // namespace
}  // namespace embedd
