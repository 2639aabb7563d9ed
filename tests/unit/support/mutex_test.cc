// SPDX-License-Identifier: Apache-2.0

#include "server/support/mutex.h"

#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

struct Counter {
  Mutex mu;
  CondVar changed;
  int value ABSL_GUARDED_BY(mu) = 0;
};

TEST_CASE("A lock lets one thread in at a time") {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 1000; ++k) {
        MutexLock lock(&counter.mu);
        const int seen = counter.value;
        if (k % 100 == 0) std::this_thread::yield();
        counter.value = seen + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(&counter.mu);
  CHECK(counter.value == 4000);
}

TEST_CASE("A waiter is woken with the lock in its hand") {
  Counter counter;
  std::thread other([&] {
    MutexLock lock(&counter.mu);
    counter.value = 1;
    counter.changed.Signal();
  });
  {
    MutexLock lock(&counter.mu);
    while (counter.value == 0) counter.changed.Wait(&counter.mu);
    counter.value = 2;
  }
  other.join();
  MutexLock lock(&counter.mu);
  CHECK(counter.value == 2);
}

TEST_CASE("Waiting for an infinite time can be ended by a signal") {
  Counter counter;
  std::thread other([&] {
    MutexLock lock(&counter.mu);
    counter.value = 1;
    counter.changed.SignalAll();
  });
  {
    MutexLock lock(&counter.mu);
    while (counter.value == 0) counter.changed.WaitFor(&counter.mu, absl::InfiniteDuration());
    CHECK(counter.value == 1);
  }
  other.join();
}

TEST_CASE("Waiting for no time, or for less, returns with the lock in hand") {
  Counter counter;
  MutexLock lock(&counter.mu);
  counter.changed.WaitFor(&counter.mu, absl::ZeroDuration());
  counter.changed.WaitFor(&counter.mu, -absl::InfiniteDuration());
  CHECK(counter.value == 0);
}

}  // namespace
}  // namespace embedd
