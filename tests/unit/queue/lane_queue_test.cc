// SPDX-License-Identifier: Apache-2.0

#include "server/queue/lane_queue.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Queue = LaneQueue<std::string>;
using Names = std::vector<std::string>;
constexpr absl::Time kNever = absl::InfiniteFuture();

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

Names Take(Queue& queue, Queue::Round round) {
  Names names;
  queue.Take(round, [&](std::string& name) {
    names.push_back(std::move(name));
    return Queue::Verdict::kTaken;
  });
  return names;
}
Names Take(Queue& queue, int most, absl::Time urgent_before = absl::InfinitePast()) {
  return Take(queue, {.most = most, .most_with_bulk = most, .urgent_before = urgent_before});
}

TEST_CASE("Turns are taken by cost: who sent cheap items does not wait for as many dear ones") {
  Queue queue;
  for (int i = 0; i < 4; ++i) queue.Add(Lane::kInteractive, 1, kNever, 100, "dear");
  for (int i = 0; i < 200; ++i) queue.Add(Lane::kInteractive, 2, kNever, 1, "cheap");
  const Names first = Take(queue, 102);  // both begin at nothing: each gets 100
  CHECK(std::count(first.begin(), first.end(), "dear") <= 2);
  CHECK(first[0] == "cheap");
}

TEST_CASE("Who comes with a cheap item beside a sender of dear ones is next") {
  Queue queue;
  for (int i = 0; i < 10; ++i) queue.Add(Lane::kInteractive, 1, kNever, 100, "dear");
  Take(queue, 5);
  queue.Add(Lane::kInteractive, 2, kNever, 1, "cheap");
  CHECK(Take(queue, 1) == Names{"cheap"});
}

TEST_CASE("A dear item is not passed for ever by cheap ones of senders that come and go") {
  Queue queue;
  Take(queue, 1);
  queue.Add(Lane::kInteractive, 1, kNever, 100, "dear");
  for (uint64_t sender = 2; sender < 300; ++sender) {
    queue.Add(Lane::kInteractive, sender, kNever, 1, "cheap");
    if (Take(queue, 1) == Names{"dear"}) {
      CHECK(sender <= 2 + 200);  // two flows wait: each gets as much
      return;
    }
  }
  FAIL("never");
}

TEST_CASE("Bulk that interactive cannot ride with gets its tenth and no more") {
  Queue queue;
  double bulk = 0, all = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    while (queue.sizes().interactive < 8) queue.Add(Lane::kInteractive, 1, kNever, 1, "text");
    while (queue.sizes().bulk < 8) queue.Add(Lane::kBulk, 9, kNever, 1, "image");
    std::string kind;  // of the batch: that of the first one
    queue.Take({.most = 8, .most_with_bulk = 8}, [&](std::string& name) {
      if (kind.empty()) kind = name;
      if (name != kind) return Queue::Verdict::kWaits;
      ++(name == "image" ? bulk : all);
      return Queue::Verdict::kTaken;
    });
  }
  all += bulk;
  CHECK(bulk / all >= 0.095);
  CHECK(bulk / all <= 0.115);
}

TEST_CASE("While bulk waits it gets a tenth by cost, taken one by one and however dear its items are") {
  const double bulk_cost = GENERATE(0.5, 1.0, 7.0, 100.0);
  Queue queue;
  double bulk = 0, all = 0;
  for (int i = 0; i < 20'000; ++i) {
    while (queue.sizes().interactive < 3) queue.Add(Lane::kInteractive, i % 5, kNever, 1, "interactive");
    while (queue.sizes().bulk < 3) queue.Add(Lane::kBulk, 9, kNever, bulk_cost, "bulk");
    const bool is_bulk = Take(queue, 1) == Names{"bulk"};
    bulk += is_bulk ? bulk_cost : 0;
    all += is_bulk ? bulk_cost : 1;
  }
  INFO("cost " << bulk_cost);
  CHECK(bulk / all >= 0.095);
  CHECK(bulk / all <= 0.115);
}

TEST_CASE("However much bulk waits, an interactive item is in the next batch or the one after it") {
  // A batch with bulk in it holds 2, one without 64: what the device is given while its latency target is
  // short.
  const Queue::Round round{.most = 64, .most_with_bulk = 2};
  Queue queue;
  for (int i = 0; i < 40; ++i) queue.Add(Lane::kBulk, 1, kNever, 1, "bulk");
  int bulk = 0;
  for (int batch = 0; batch < 500; ++batch) {
    queue.Add(Lane::kInteractive, 2, kNever, 1, "single");
    for (const std::string& name : Take(queue, round)) {
      if (name != "bulk") continue;
      ++bulk;
      queue.Add(Lane::kBulk, 1, kNever, 1, "bulk");
    }
    REQUIRE(queue.sizes().interactive <= 1);
  }
  CHECK(bulk >= 400);  // what the singles leave is its
}

TEST_CASE("Bulk gets its tenth beside a crowd, a few small batches after each large one") {
  const Queue::Round round{.most = 64, .most_with_bulk = 2};
  Queue queue;
  for (int i = 0; i < 20'000; ++i) queue.Add(Lane::kInteractive, 2, kNever, 1, "single");
  for (int i = 0; i < 4'000; ++i) queue.Add(Lane::kBulk, 1, kNever, 1, "bulk");
  int bulk = 0, all = 0, without = 0;
  for (int batch = 0; batch < 400; ++batch) {
    const Names names = Take(queue, round);
    const auto of_bulk = static_cast<int>(std::count(names.begin(), names.end(), "bulk"));
    without = of_bulk == static_cast<int>(names.size()) ? without + 1 : 0;
    REQUIRE(without <= 4);  // a tenth of 64, two at a time
    bulk += of_bulk;
    all += static_cast<int>(names.size());
  }
  CHECK(bulk >= all / 10 - 7);
  CHECK(bulk <= all / 10 + 7);
}

TEST_CASE("What costs nothing in the end costs no turn") {
  Queue queue;
  for (int i = 0; i < 50; ++i) queue.Add(Lane::kInteractive, 1, kNever, 100, "gone");
  for (int i = 0; i < 4; ++i) queue.Add(Lane::kInteractive, 1, kNever, 1, "one");
  for (int i = 0; i < 4; ++i) queue.Add(Lane::kInteractive, 2, kNever, 1, "two");
  Names names;
  queue.Take({.most = 4, .most_with_bulk = 4}, [&](std::string& name) {
    if (name == "gone") return Queue::Verdict::kDropped;
    names.push_back(name);
    return Queue::Verdict::kTaken;
  });
  CHECK(std::count(names.begin(), names.end(), "one") == 2);
}

TEST_CASE("What waits stays, in its order, and the others go on") {
  Queue queue;
  for (const char* name : {"a1", "a2"}) queue.Add(Lane::kInteractive, 1, kNever, 1, name);
  for (const char* name : {"b1", "b2"}) queue.Add(Lane::kInteractive, 2, kNever, 1, name);
  Names names;
  queue.Take({.most = 4, .most_with_bulk = 4}, [&](std::string& name) {
    if (name[0] == 'a') return Queue::Verdict::kWaits;
    names.push_back(name);
    return Queue::Verdict::kTaken;
  });
  CHECK(names == Names{"b1", "b2"});
  CHECK(Take(queue, 4) == Names{"a1", "a2"});
}

TEST_CASE("Items that are removed are given back, and the rest keeps its order and sizes") {
  Queue queue;
  for (const char* name : {"keep 1", "go 1", "keep 2", "go 2"}) queue.Add(Lane::kBulk, 1, kNever, 2, name);
  queue.Add(Lane::kBulk, 2, kNever, 2, "go of another");
  Names removed;
  queue.RemoveIf(
      1, [](const std::string& name) { return name[0] == 'g'; }, removed);
  CHECK(removed == Names{"go 1", "go 2"});
  CHECK(queue.sizes().bulk == 3);
  CHECK(queue.cost(Lane::kBulk) == 6);
  CHECK(Take(queue, 1) == Names{"keep 1"});
  queue.RemoveAll(removed);
  CHECK(removed.size() == 4);
  CHECK(queue.sizes().bulk == 0);
  CHECK(queue.cost(Lane::kBulk) == 0);
  CHECK(Take(queue, 9).empty());
}

// An endless schedule: 1.2 items come for each that is taken, each with a deadline `deadline` seconds away;
// those whose deadline has passed drop out, as in an overloaded server. Items that are taken between the
// arrival of the last of `patient` ones without a deadline and the moment when it is taken, and the bound.
struct Passed {
  int taken = 0;
  int bound = 0;
};
Passed PassedBeforePatient(bool own_connection, int patient, uint64_t senders, double deadline) {
  struct Item {
    absl::Time deadline;
    int number = 0;  // of a patient one, from 1
  };
  LaneQueue<Item> queue;
  constexpr double kEach = 0.005;  // seconds an item takes
  double now = 0, next = 0;
  uint64_t sender = 0;
  const auto step = [&] {
    for (; next <= now; next += kEach / 1.2) {
      const absl::Time end = At(next + deadline);
      queue.Add(Lane::kInteractive, 100 + ++sender % senders, end, 1, {end});
    }
    Item got;
    const LaneQueue<Item>::Round round{.most = 1, .most_with_bulk = 1, .urgent_before = At(now + 0.5)};
    queue.Take(round, [&](Item& item) {
      using Verdict = LaneQueue<Item>::Verdict;
      if (item.deadline <= At(now)) return Verdict::kDropped;
      got = item;
      return Verdict::kTaken;
    });
    now += kEach;
    return got.number;
  };
  for (int i = 0; i < 2000; ++i) step();
  const int older = own_connection ? 0 : queue.sizes().interactive / static_cast<int>(senders) + 1;
  for (int i = 1; i <= patient; ++i) {
    queue.Add(Lane::kInteractive, own_connection ? 1 : 100, kNever, 1, {kNever, i});
  }
  Passed passed{.bound = 16 * (older + patient) * (static_cast<int>(senders) + own_connection)};
  while (passed.taken < 100'000 && step() != patient) ++passed.taken;
  return passed;
}

TEST_CASE("Whoever has no deadline is served in time, though calls with near ones come for ever") {
  const bool own_connection = GENERATE(true, false);
  const uint64_t senders = GENERATE(1u, 4u, 16u);
  const int patient = GENERATE(1, 5);
  const double deadline = GENERATE(0.4, 2.0);  // seconds: near from the start, or later
  const Passed passed = PassedBeforePatient(own_connection, patient, senders, deadline);
  INFO("own connection " << own_connection << ", " << senders << " senders, " << patient
                         << " patient, deadline " << deadline << " s");
  CHECK(passed.taken <= passed.bound);
}

}  // namespace
}  // namespace embedd
