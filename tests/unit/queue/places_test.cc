// SPDX-License-Identifier: Apache-2.0

#include "server/queue/places.h"

#include <atomic>
#include <deque>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

PlaceBudget::Options Small(int images, int64_t bytes) { return {.images = images, .bytes = bytes}; }

TEST_CASE("Places are held by their token and given back when it dies") {
  PlaceBudget budget(Small(10, 1000));
  {
    absl::StatusOr<Places> places = budget.Reserve(3, 300);
    REQUIRE(places.ok());
    CHECK(places->images() == 3);
    CHECK(places->bytes() == 300);
    CHECK(budget.usage().images == 3);
    CHECK(budget.usage().bytes == 300);
  }
  CHECK(budget.usage().images == 0);
  CHECK(budget.usage().bytes == 0);
}

TEST_CASE("A full budget refuses for now and takes nothing") {
  PlaceBudget budget(Small(4, 1000));
  absl::StatusOr<Places> held = budget.Reserve(3, 10);
  CHECK(absl::IsResourceExhausted(budget.Reserve(2, 10).status()));
  CHECK(budget.usage().images == 3);
  CHECK(budget.Reserve(1, 990).ok());
  CHECK(absl::IsResourceExhausted(budget.Reserve(1, 991).status()));
}

TEST_CASE("What could never fit is another error than what does not fit now, and names both numbers") {
  PlaceBudget budget(Small(4, 1000));
  const absl::Status images = budget.Reserve(5, 1).status();
  CHECK(absl::IsOutOfRange(images));
  CHECK(images.message().find("5 inputs") != std::string::npos);
  CHECK(images.message().find("4") != std::string::npos);
  const absl::Status bytes = budget.Reserve(1, 1001).status();
  CHECK(absl::IsOutOfRange(bytes));
  CHECK(bytes.message().find("1001") != std::string::npos);
  CHECK(absl::IsOutOfRange(budget.ReserveOrWait(5, 1, [](Places) { FAIL("was queued"); }).status()));
}

TEST_CASE("An empty budget takes exactly as much as it holds") {
  PlaceBudget budget(Small(4, 1000));
  CHECK(budget.Reserve(4, 1000).ok());
}

TEST_CASE("A part that is split off is given back by its new owner") {
  PlaceBudget budget(Small(10, 1000));
  Places all = *budget.Reserve(3, 300);
  Places one = all.Take(1, 100);
  CHECK(one.images() == 1);
  CHECK(all.images() == 2);
  CHECK(all.bytes() == 200);
  all.Release();
  CHECK(budget.usage().images == 1);
  CHECK(budget.usage().bytes == 100);
  one.Release();
  one.Release();  // nothing more to give
  CHECK(budget.usage().images == 0);
}

TEST_CASE("Splitting off more than is held gives what is held") {
  PlaceBudget budget(Small(10, 1000));
  Places all = *budget.Reserve(1, 100);
  const Places much = all.Take(5, 500);
  CHECK(much.images() == 1);
  CHECK(much.bytes() == 100);
  CHECK(all.images() == 0);
  CHECK(budget.usage().images == 1);
}

TEST_CASE("Shrinking gives bytes back and never takes any") {
  PlaceBudget budget(Small(10, 1000));
  Places places = *budget.Reserve(1, 500);
  places.ShrinkTo(150);
  CHECK(places.bytes() == 150);
  CHECK(budget.usage().bytes == 150);
  places.ShrinkTo(400);
  CHECK(places.bytes() == 150);
  CHECK(budget.usage().bytes == 150);
  CHECK(budget.usage().images == 1);
}

TEST_CASE("Moving onto a token gives back what it held before") {
  PlaceBudget budget(Small(10, 1000));
  Places a = *budget.Reserve(1, 100);
  Places b = *budget.Reserve(2, 200);
  a = std::move(b);
  CHECK(budget.usage().images == 2);
  CHECK(a.images() == 2);
  Places& same = a;
  a = std::move(same);
  CHECK(a.images() == 2);
  CHECK(budget.usage().images == 2);
}

TEST_CASE("A waiter gets its places as soon as they are free, once") {
  PlaceBudget budget(Small(2, 1000));
  Places held = *budget.Reserve(2, 20);
  std::vector<Places> granted;
  CHECK(absl::IsResourceExhausted(
      budget.ReserveOrWait(1, 10, [&](Places p) { granted.push_back(std::move(p)); }).status()));
  CHECK(granted.empty());
  held.Release();
  REQUIRE(granted.size() == 1);
  CHECK(granted[0].images() == 1);
  CHECK(granted[0].bytes() == 10);
  CHECK(budget.usage().images == 1);
  granted.clear();
  CHECK(budget.usage().images == 0);
}

TEST_CASE("Waiters are served in the order they came, also when a later one needs less") {
  PlaceBudget budget(Small(3, 1000));
  Places a = *budget.Reserve(1, 1), b = *budget.Reserve(2, 1);
  std::vector<int> order;
  std::vector<Places> granted;
  const auto waiter = [&](int name) {
    return [&, name](Places p) {
      order.push_back(name);
      granted.push_back(std::move(p));
    };
  };
  REQUIRE_FALSE(budget.ReserveOrWait(3, 1, waiter(1)).ok());
  REQUIRE_FALSE(budget.ReserveOrWait(1, 1, waiter(2)).ok());
  a.Release();
  CHECK(order.empty());  // one place is free, but the first in line needs three
  b.Release();
  CHECK(order == std::vector<int>{1});
  std::exchange(granted, {}).clear();  // giving back adds to `granted`
  CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("Whoever would wait goes behind those who wait already, even when it would fit") {
  PlaceBudget budget(Small(3, 1000));
  Places a = *budget.Reserve(2, 1);
  std::vector<int> order;
  REQUIRE_FALSE(budget.ReserveOrWait(3, 1, [&](Places) { order.push_back(1); }).ok());
  REQUIRE_FALSE(budget.ReserveOrWait(1, 1, [&](Places) { order.push_back(2); }).ok());
  a.Release();
  CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("A large waiter is not kept out for ever by small calls that take each place as it comes free") {
  PlaceBudget budget(Small(10, 1000));
  std::deque<Places> small;
  for (int i = 0; i < 10; ++i) small.push_back(*budget.Reserve(1, 100));
  Places large;
  REQUIRE_FALSE(budget.ReserveOrWait(1, 500, [&](Places p) { large = std::move(p); }).ok());
  int calls = 0, refused = 0;
  for (; calls < 1000 && large.images() == 0; ++calls) {  // a call ends, and another comes at once
    if (!small.empty()) small.pop_front();
    absl::StatusOr<Places> next = budget.Reserve(1, 100);
    if (next.ok()) small.push_back(*std::move(next));
    refused += !next.ok();
  }
  CHECK(large.bytes() == 500);
  CHECK(calls < 30);
  CHECK(refused < 10);
  large.Release();
  CHECK(budget.Reserve(1, 100).ok());  // and those who do not wait have their turn again
}

TEST_CASE("A waiter that has no use for its places any more passes them on to the next") {
  PlaceBudget budget(Small(1, 1000));
  Places held = *budget.Reserve(1, 1);
  Places second;
  REQUIRE_FALSE(budget.ReserveOrWait(1, 1, [](Places) { /* its caller went away meanwhile */ }).ok());
  REQUIRE_FALSE(budget.ReserveOrWait(1, 1, [&](Places p) { second = std::move(p); }).ok());
  held.Release();
  CHECK(second.images() == 1);
  CHECK(budget.usage().images == 1);
}

TEST_CASE("A budget of many threads is never overdrawn, and is empty at the end") {
  PlaceBudget budget(Small(5, 50));
  std::atomic<int> held{0}, most{0}, granted{0};
  const auto hold = [&](int n) {
    int now = held += n, seen = most.load();
    while (now > seen && !most.compare_exchange_weak(seen, now)) {
    }
    std::this_thread::yield();
    held -= n;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int k = 0; k < 500; ++k) {
        const int n = 1 + (t + k) % 3;
        absl::StatusOr<Places> places = budget.ReserveOrWait(n, n, [&, n](Places p) {
          hold(n);
          ++granted;
          p.Release();
        });
        if (!places.ok()) continue;
        hold(n);
        ++granted;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(most <= 5);
  CHECK(granted == 4 * 500);  // each waiter was served in the end
  CHECK(budget.usage().images == 0);
  CHECK(budget.usage().bytes == 0);
}

}  // namespace
}  // namespace embedd
