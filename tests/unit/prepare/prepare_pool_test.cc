// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/prepare_pool.h"

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

constexpr int64_t kLarge = 12'000'000, kSmall = 320 * 240;  // pixels

// Opens once; Wait returns when it is open.
class Gate {
 public:
  void Open() {
    MutexLock lock(&mu_);
    open_ = true;
    changed_.SignalAll();
  }
  void Wait() {
    MutexLock lock(&mu_);
    while (!open_) changed_.Wait(&mu_);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

// A pool whose threads write down what they were given, in order. It begins with a file in the hands of each
// thread, which stays there until Go: so a test decides what waits.
struct Fixture {
  explicit Fixture(int threads = 1)
      : pool({.threads = threads}, {.clock = &clock,
                                    .cost = &cost,
                                    .prepare = [this](PrepareItem item) { Prepare(std::move(item)); },
                                    .still_ahead =
                                        [this] {
                                          const absl::Duration image = absl::Milliseconds(still_ahead.load());
                                          return PerTower<absl::Duration>{{image, absl::ZeroDuration()}};
                                        }}) {
    cost.Add({PrepareLoad::kFirstFormat, kLarge}, absl::Milliseconds(120));
    cost.Add({PrepareLoad::kFirstFormat, kSmall}, absl::Milliseconds(2));
    for (int i = 0; i < threads; ++i) Add(kPlug, kLarge);
    while (in_hand < threads) std::this_thread::yield();
  }
  ~Fixture() { go.Open(); }

  void Prepare(PrepareItem item) {
    const uint32_t index = item.task.index();
    if (index == kPlug) {
      ++in_hand;
      go.Wait();
      item.task.Finish(Answer());
      return;
    }
    {
      MutexLock lock(&mu);
      order.push_back(index);
    }
    item.task.Finish(Answer());
  }
  void Add(uint32_t index, int64_t pixels, const TaskOptions& options = {}) {
    const std::shared_ptr<RecordingCall>& of = index == kPlug ? plug_call : call;
    PrepareItem item{.task = MakeTask(of, index, options), .load = {PrepareLoad::kFirstFormat, pixels}};
    pool.Add(std::move(item));
  }
  // Lets the threads go on, waits until `n` inputs were answered; the order in which they were prepared.
  std::vector<uint32_t> Go(int n) {
    go.Open();
    while (call->answers() < n) std::this_thread::yield();
    MutexLock lock(&mu);
    return order;
  }
  absl::Time In(absl::Duration d) const { return clock.TimeNow() + d; }

  static constexpr uint32_t kPlug = 1'000'000;
  SimulatedClock clock;
  PrepareCost cost;
  Gate go;
  std::atomic<int> in_hand{0};
  std::atomic<int> still_ahead{0};  // ms, of a picture; a text needs none
  Mutex mu;
  std::vector<uint32_t> order ABSL_GUARDED_BY(mu);
  std::shared_ptr<RecordingCall> call = std::make_shared<RecordingCall>();
  std::shared_ptr<RecordingCall> plug_call = std::make_shared<RecordingCall>();
  PreparePool pool;
};

using Indexes = std::vector<uint32_t>;

TEST_CASE("A small picture goes before the large files of a bulk job that waited already") {
  Fixture f;
  for (uint32_t i = 0; i < 20; ++i) f.Add(i, kLarge, {.lane = Lane::kBulk, .flow = 1});
  f.Add(100, kSmall, {.flow = 2});
  CHECK(f.Go(21).front() == 100);
}

TEST_CASE("In one lane, too, small pictures of one connection do not wait behind large files of another") {
  Fixture f;
  for (uint32_t i = 0; i < 20; ++i) f.Add(i, kLarge, {.flow = 1});
  for (uint32_t i = 100; i < 110; ++i) f.Add(i, kSmall, {.flow = 2});
  const Indexes order = f.Go(30);
  int large = 0;
  for (size_t i = 0; order[i] != 109; ++i) large += order[i] < 100;
  CHECK(large <= 1);
}

TEST_CASE("The nearest deadline goes first, and a connection's inputs in the order they came") {
  Fixture f;
  f.Add(0, kSmall, {.flow = 1});
  f.Add(1, kSmall, {.flow = 1});
  f.Add(2, kSmall, {.flow = 2, .deadline = f.In(absl::Milliseconds(400))});
  f.Add(3, kSmall, {.flow = 3, .deadline = f.In(absl::Milliseconds(300))});
  CHECK(f.Go(4) == Indexes{3, 2, 0, 1});
}

TEST_CASE("What cannot be in time is not prepared: its own time counts, and what comes after") {
  Fixture f;
  f.Add(0, kLarge, {.deadline = f.In(absl::Milliseconds(100))});
  f.Add(1, kSmall, {.deadline = f.In(absl::Milliseconds(100))});
  CHECK(f.Go(2) == Indexes{1});
  CHECK(f.call->answer(0).outcome == Outcome::kExpired);
  CHECK(f.call->answer(0).reason == Reason::kDeadline);
  f.still_ahead = 99;
  f.Add(2, kSmall, {.deadline = f.In(absl::Milliseconds(100))});
  while (f.call->answers() < 3) std::this_thread::yield();
  CHECK(f.call->answer(2).outcome == Outcome::kExpired);
}

TEST_CASE("A text is judged by what the device needs for a text, not for a picture") {
  Fixture f;
  f.still_ahead = 1000;
  f.Add(0, kSmall, {.flow = 1, .deadline = f.In(absl::Milliseconds(500))});
  f.Add(1, kSmall, {.flow = 2, .deadline = f.In(absl::Milliseconds(500)), .tower = Tower::kText});
  CHECK(f.Go(2) == Indexes{1});
  CHECK(f.call->answer(0).outcome == Outcome::kExpired);
}

TEST_CASE("Inputs of a dead call are answered at once, others stay") {
  Fixture f;
  auto dead = std::make_shared<RecordingCall>();
  f.pool.Add({.task = MakeTask(dead, 7, {.flow = 1}), .load = {PrepareLoad::kFirstFormat, kSmall}});
  f.Add(0, kSmall, {.flow = 1});
  dead->MarkDead();
  CHECK(f.pool.counts().by_lane().interactive == 3);
  f.pool.DropDead(1);
  CHECK(f.pool.counts().by_lane().interactive == 2);
  CHECK(dead->answer(7).outcome == Outcome::kCancelled);
  CHECK(f.Go(1) == Indexes{0});
}

TEST_CASE("What died unnoticed is answered when its turn comes, and not prepared") {
  Fixture f;
  auto dead = std::make_shared<RecordingCall>();
  f.pool.Add({.task = MakeTask(dead, 7), .load = {PrepareLoad::kFirstFormat, kSmall}});
  dead->MarkDead();
  f.Add(0, kSmall);
  CHECK(f.Go(1) == Indexes{0});
  CHECK(dead->answer(7).outcome == Outcome::kCancelled);
}

TEST_CASE("What waits and what is in hand is counted, by lane and tower") {
  Fixture f(2);
  f.Add(0, kSmall);
  f.Add(1, kSmall, {.lane = Lane::kBulk});
  f.Add(2, kSmall, {.lane = Lane::kBulk, .tower = Tower::kText});
  InputCounts counts = f.pool.counts();
  CHECK(counts.by_lane().interactive == 3);
  CHECK(counts.by_lane().bulk == 2);
  CHECK(counts.At(Tower::kImage, Lane::kBulk) == 1);
  CHECK(counts.At(Tower::kText, Lane::kBulk) == 1);
  f.Go(3);
  f.pool.Stop();
  counts = f.pool.counts();
  CHECK(counts.of(Tower::kImage) == 0);
  CHECK(counts.of(Tower::kText) == 0);
}

TEST_CASE("The expected time is that of all before it in its lane, shared by the threads") {
  Fixture f(2);
  const absl::Duration in_hand = absl::Milliseconds(120) / 2;  // half of two files, by two threads
  CHECK(f.pool.ExpectedTime(Lane::kInteractive, absl::ZeroDuration()) == in_hand);
  for (uint32_t i = 0; i < 10; ++i) f.Add(i, kLarge);
  CHECK(f.pool.ExpectedTime(Lane::kInteractive, absl::Milliseconds(40)) ==
        in_hand + absl::Milliseconds(600) + absl::Milliseconds(20));
  for (uint32_t i = 10; i < 110; ++i) f.Add(i, kLarge, {.lane = Lane::kBulk});
  // A tenth for bulk, and all of it for whoever is bulk.
  const absl::Duration interactive = f.pool.ExpectedTime(Lane::kInteractive, absl::ZeroDuration());
  CHECK(interactive > in_hand + absl::Milliseconds(600));
  CHECK(interactive < in_hand + absl::Milliseconds(700));
  CHECK(f.pool.ExpectedTime(Lane::kBulk, absl::ZeroDuration()) > absl::Milliseconds(6600));
  f.pool.FailAll(absl::UnavailableError("enough"), Reason::kDraining);
}

TEST_CASE("Guesses refuse nobody: the expected time is zero while nothing was measured") {
  SimulatedClock clock;
  PrepareCost cost;
  PreparePool pool({}, {.clock = &clock, .cost = &cost, .prepare = [](PrepareItem) {}});
  CHECK(pool.ExpectedTime(Lane::kInteractive, absl::Seconds(5)) == absl::ZeroDuration());
}

TEST_CASE("After FailAll every input, and every later one, gets the same failure at once") {
  Fixture f;
  f.Add(0, kSmall);
  f.Add(1, kLarge, {.lane = Lane::kBulk});
  f.pool.FailAll(absl::UnavailableError("the device was lost"), Reason::kDeviceFailed);
  f.Add(2, kSmall);
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK(f.call->answer(i).outcome == Outcome::kFailed);
    CHECK(absl::IsUnavailable(f.call->answer(i).status));
    CHECK(f.call->answer(i).reason == Reason::kDeviceFailed);
  }
}

TEST_CASE("Stopping answers what waits, lets what is in hand end, and may be repeated") {
  Fixture f;
  f.Add(0, kSmall);
  std::thread stopper([&f] { f.pool.Stop(); });
  while (f.call->answers() < 1) std::this_thread::yield();
  CHECK(absl::IsUnavailable(f.call->answer(0).status));
  CHECK(f.plug_call->answers() == 0);
  f.go.Open();
  stopper.join();
  CHECK(f.plug_call->answers() == 1);
  f.pool.Stop();
  f.Add(1, kSmall);
  CHECK(absl::IsUnavailable(f.call->answer(1).status));
}

TEST_CASE("A chore runs before the next input, on a thread of the pool; after the end it is only destroyed") {
  Fixture f;
  f.Add(0, kSmall);
  std::thread::id ran_on;
  f.pool.Soon([&] {
    ran_on = std::this_thread::get_id();
    MutexLock lock(&f.mu);
    f.order.push_back(99);
  });
  CHECK(f.Go(1) == Indexes{99, 0});
  CHECK(ran_on != std::this_thread::get_id());
  f.pool.Stop();
  auto token = std::make_shared<int>();
  f.pool.Soon([token] { FAIL("it ran"); });
  CHECK(token.use_count() == 1);
}

TEST_CASE("As many inputs are prepared at once as there are threads") {
  Fixture f(2);  // its constructor hangs when the two do not run side by side
  CHECK(f.in_hand == 2);
}

TEST_CASE("Many threads add and drop while one stops: every input is answered once") {
  SimulatedClock clock;
  PrepareCost cost;
  auto call = std::make_shared<RecordingCall>();
  {
    PreparePool pool({.threads = 2}, {.clock = &clock, .cost = &cost, .prepare = [](PrepareItem item) {
                                        item.task.Finish(Answer());
                                      }});
    std::vector<std::thread> callers;
    for (uint32_t c = 0; c < 4; ++c) {
      callers.emplace_back([&, c] {
        for (uint32_t i = 0; i < 250; ++i) {
          const Lane lane = i % 2 ? Lane::kBulk : Lane::kInteractive;
          pool.Add({.task = MakeTask(call, c * 250 + i, {.lane = lane, .flow = c}), .load = {0, 1}});
          if (i % 50 == 0) pool.DropDead(c);
        }
      });
    }
    pool.Stop();
    for (std::thread& caller : callers) caller.join();
  }
  CHECK(call->answers() == 1000);
  for (uint32_t i = 0; i < 1000; ++i) REQUIRE_NOTHROW(call->told(i));
}

}  // namespace
}  // namespace embedd
