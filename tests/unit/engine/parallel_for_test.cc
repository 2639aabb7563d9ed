// SPDX-License-Identifier: Apache-2.0

#include "server/engine/parallel_for.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "server/support/mutex.h"
#include "tests/support/catch.h"
#include "tests/support/towers.h"

namespace embedd {
namespace {

TEST_CASE("Every number is worked on once, whatever the parts") {
  UseTorchThreads(2);
  for (const int64_t n : {1, 2, 7, 100}) {
    for (const int64_t grain : {1, 3, 1000}) {
      std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
      ParallelFor(n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
      });
      for (const auto& count : visits) CHECK(count == 1);
    }
  }
}

TEST_CASE("Work is divided among LibTorch's threads, and stays on the caller's when it is small") {
  UseTorchThreads(2);
  Mutex mu;
  std::vector<std::thread::id> threads;
  const auto note = [&](int64_t, int64_t) {
    MutexLock lock(&mu);
    threads.push_back(std::this_thread::get_id());
  };
  ParallelFor(64, 1, note);
  REQUIRE(threads.size() == 2);
  CHECK(threads[0] != threads[1]);
  threads.clear();
  ParallelFor(64, 100, note);
  CHECK(threads == std::vector{std::this_thread::get_id()});
}

TEST_CASE("What the work throws reaches the caller") {
  UseTorchThreads(2);
  CHECK_THROWS_AS(ParallelFor(64, 1, [](int64_t, int64_t) { throw std::runtime_error("no"); }),
                  std::runtime_error);
}

}  // namespace
}  // namespace embedd
