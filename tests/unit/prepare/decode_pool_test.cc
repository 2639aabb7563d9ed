// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/decode_pool.h"

#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

DecodePool::Options Threads(int threads) {
  DecodePool::Options options;
  options.threads = threads;
  return options;
}

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

// Counts those alive, as the places of a queue do.
class Token {
 public:
  explicit Token(std::atomic<int>* alive) : alive_(alive) { ++*alive_; }
  ~Token() { --*alive_; }

 private:
  std::atomic<int>* const alive_;
};

TEST_CASE("Every job runs once, and draining waits for all of them") {
  std::atomic<int> runs{0};
  DecodePool pool(Threads(3));
  for (int i = 0; i < 1000; ++i) pool.Submit([&runs] { ++runs; });
  pool.Drain();
  CHECK(runs == 1000);
}

TEST_CASE("One thread runs the jobs in the order given") {
  std::vector<int> order;
  DecodePool pool(Threads(1));
  for (int i = 0; i < 100; ++i) pool.Submit([&order, i] { order.push_back(i); });
  pool.Drain();
  REQUIRE(order.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(order[i] == i);
}

TEST_CASE("As many jobs run at once as there are threads") {
  DecodePool pool(Threads(2));
  Gate first, second;
  pool.Submit([&] {
    first.Open();
    second.Wait();
  });
  pool.Submit([&] {
    second.Open();
    first.Wait();
  });
  pool.Drain();  // hangs when the two do not run side by side
}

TEST_CASE("Stopping drops the waiting jobs, destroys what they own and lets the running one end") {
  std::atomic<int> alive{0};
  std::atomic<int> runs{0};
  Gate started, go_on;
  DecodePool pool(Threads(1));
  pool.Submit([&, token = std::make_unique<Token>(&alive)] {
    started.Open();
    go_on.Wait();
    ++runs;
  });
  started.Wait();
  for (int i = 0; i < 10; ++i) pool.Submit([&, token = std::make_unique<Token>(&alive)] { ++runs; });
  CHECK(pool.waiting() == 10);
  CHECK(alive == 11);
  std::thread stopper([&] { pool.Stop(); });
  while (pool.waiting() > 0) std::this_thread::yield();
  go_on.Open();
  stopper.join();
  CHECK(runs == 1);
  CHECK(alive == 0);
}

TEST_CASE("A job given after the stop is destroyed and never runs") {
  std::atomic<int> alive{0};
  bool ran = false;
  DecodePool pool(Threads(1));
  pool.Stop();
  pool.Submit([&, token = std::make_unique<Token>(&alive)] { ran = true; });
  CHECK_FALSE(ran);
  CHECK(alive == 0);
}

TEST_CASE("A dropped job whose end gives the pool another job does not lock up") {
  DecodePool pool(Threads(1));
  Gate started, go_on;
  pool.Submit([&] {
    started.Open();
    go_on.Wait();
  });
  started.Wait();
  struct Resubmit {
    DecodePool* pool;
    ~Resubmit() {
      pool->Submit([] {});
    }
  };
  pool.Submit([last = std::make_unique<Resubmit>(Resubmit{&pool})] {});
  std::thread stopper([&] { pool.Stop(); });
  while (pool.waiting() > 0) std::this_thread::yield();
  go_on.Open();
  stopper.join();
  CHECK(pool.waiting() == 0);
}

TEST_CASE("The destructor stops, and stopping twice is allowed") {
  std::atomic<int> alive{0};
  {
    DecodePool pool(Threads(2));
    for (int i = 0; i < 50; ++i) pool.Submit([token = std::make_unique<Token>(&alive)] {});
    pool.Stop();
    pool.Stop();
  }
  CHECK(alive == 0);
}

TEST_CASE("Many threads may submit while one stops") {
  std::atomic<int> alive{0};
  DecodePool pool(Threads(2));
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) pool.Submit([token = std::make_unique<Token>(&alive)] {});
    });
  }
  pool.Stop();
  for (std::thread& caller : callers) caller.join();
  CHECK(alive == 0);
}

}  // namespace
}  // namespace embedd
