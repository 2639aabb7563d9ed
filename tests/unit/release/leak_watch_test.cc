// SPDX-License-Identifier: Apache-2.0

#include "server/release/leak_watch.h"

#include <random>

#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kModel = int64_t{600} << 20;

TEST_CASE("A steady growth over the window is a leak, with its slope") {
  LeakWatch watch;
  for (int i = 0; i < 500; ++i) watch.Add(kModel + 4096 * i);
  CHECK(watch.slope() == Approx(4096));
  CHECK(watch.leaking());
}

TEST_CASE("Nothing is said before the window is full") {
  LeakWatch watch;
  for (int i = 0; i < 499; ++i) watch.Add(kModel + 4096 * i);
  CHECK(watch.slope() == 0);
  CHECK_FALSE(watch.leaking());
}

TEST_CASE("Noise around a level is no leak") {
  std::mt19937 random(7);
  std::uniform_int_distribution<int64_t> noise(0, 64 << 10);
  LeakWatch watch;
  for (int i = 0; i < 500; ++i) watch.Add(kModel + noise(random));
  CHECK_FALSE(watch.leaking());
}

TEST_CASE("Growth that ended leaves the window") {
  LeakWatch watch({.window = 100, .bytes_per_batch = 10});
  for (int i = 0; i < 100; ++i) watch.Add(20 * i);
  CHECK(watch.leaking());
  for (int i = 0; i < 100; ++i) watch.Add(2000);
  CHECK(watch.slope() == Approx(0).margin(1e-9));
}

TEST_CASE("Shrinking is no leak") {
  LeakWatch watch({.window = 10, .bytes_per_batch = 10});
  for (int i = 0; i < 10; ++i) watch.Add(100000 - 50 * i);
  CHECK(watch.slope() == Approx(-50));
  CHECK_FALSE(watch.leaking());
}

TEST_CASE("A reset forgets: the weights came or went") {
  LeakWatch watch({.window = 10, .bytes_per_batch = 10});
  for (int i = 0; i < 10; ++i) watch.Add(100 * i);
  watch.Reset();
  CHECK(watch.slope() == 0);
  for (int i = 0; i < 10; ++i) watch.Add(5);
  CHECK_FALSE(watch.leaking());
}

TEST_CASE("A window of one batch has no slope") {
  LeakWatch watch({.window = 1, .bytes_per_batch = 10});
  watch.Add(1);
  watch.Add(100000);
  CHECK(watch.slope() == 0);
}

}  // namespace
}  // namespace embedd
