// SPDX-License-Identifier: Apache-2.0

#include "server/batching/cap_controller.h"

#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

CapController::Options NoLatency(int max_batch = 64) {
  return {.max_batch = max_batch, .latency_target = absl::ZeroDuration()};
}

// A batch of b images takes 100 + 10 b bytes above the baseline of 1000.
BatchBytes Took(int b) { return {.before = 1000, .peak = 1000 + 100 + 10 * b, .after = 1000}; }

void Clean(CapController& cap, int b, int times = 1, absl::Duration took = absl::Milliseconds(1)) {
  for (int i = 0; i < times; ++i) cap.OnBatch(b, b, took, Took(b));
}

TEST_CASE("At first the cap is what the operator allows") {
  const CapController cap({.max_batch = 48});
  CHECK(cap.cap().images == 48);
  CHECK(cap.cap().bulk == 48);
  CHECK(cap.cap().set_by == "max_batch");
}

TEST_CASE("Memory: the largest rung that fits limit minus baseline minus margin") {
  CapController cap(NoLatency());
  Clean(cap, 4);
  Clean(cap, 16);
  // 0.95 * limit - 1000 = 100 + 10 b  =>  b = 32 needs a limit of 1495
  cap.OnMemory(1495, 1000);
  CHECK(cap.cap().images == 32);
  CHECK(cap.cap().set_by == "memory");
  cap.OnMemory(1470, 1000);
  CHECK(cap.cap().images == 16);
  cap.OnMemory(100, 1000);
  CHECK(cap.cap().images == 1);
  cap.OnMemory(0, 1000);  // no limit
  CHECK(cap.cap().images == 64);
  CHECK(cap.cap().set_by == "max_batch");
}

TEST_CASE("Latency: the largest rung that ends within the target") {
  CapController cap({.latency_target = absl::Milliseconds(200)});
  for (const int rung : cap.ladder().rungs())
    cap.OnBatch(rung, rung, absl::Milliseconds(10 * rung), Took(rung));
  CHECK(cap.cap().images == 16);
  CHECK(cap.cap().bulk == 16);
  CHECK(cap.cap().set_by == "latency");
}

TEST_CASE("On a slow device interactive batches reach the efficient size, bulk keeps to the target") {
  CapController cap({.latency_target = absl::Milliseconds(200)});
  for (const int rung : cap.ladder().rungs())
    cap.OnBatch(rung, rung, absl::Milliseconds(60 * rung), Took(rung));
  CHECK(cap.cap().bulk == 2);
  CHECK(cap.cap().images == 8);
  CHECK(cap.cap().set_by == "latency");
}

TEST_CASE("Even the efficient size is not worth ten times the latency target") {
  CapController cap({.latency_target = absl::Milliseconds(200)});
  for (const int rung : cap.ladder().rungs())
    cap.OnBatch(rung, rung, absl::Milliseconds(400 * rung), Took(rung));
  CHECK(cap.cap().bulk == 1);  // one image takes longer than the target: it goes all the same
  CHECK(cap.cap().images == 4);
}

TEST_CASE("A latency target of zero sets no cap") {
  CapController cap(NoLatency());
  for (const int rung : cap.ladder().rungs()) cap.OnBatch(rung, rung, absl::Seconds(rung), Took(rung));
  CHECK(cap.cap().images == 64);
}

TEST_CASE("Out of memory halves the cap, bulk too") {
  CapController cap(NoLatency());
  cap.OnOutOfMemory(64);
  CHECK(cap.cap().images == 32);
  CHECK(cap.cap().bulk == 32);
  CHECK(cap.cap().set_by == "oom");
  cap.OnOutOfMemory(20);
  CHECK(cap.cap().images == 8);  // a rung, at most half of what failed
  cap.OnOutOfMemory(64);         // old news
  CHECK(cap.cap().images == 8);
  cap.OnOutOfMemory(1);
  CHECK(cap.cap().images == 1);
}

TEST_CASE("The cap grows back one rung after eight clean full batches") {
  CapController cap(NoLatency());
  cap.OnOutOfMemory(64);
  Clean(cap, 32, 7);
  CHECK(cap.cap().images == 32);
  Clean(cap, 16, 50);  // not full: says nothing
  CHECK(cap.cap().images == 32);
  Clean(cap, 32);
  CHECK(cap.cap().images == 64);
  CHECK(cap.cap().set_by == "max_batch");
}

TEST_CASE("An out-of-memory starts the count of clean batches again") {
  CapController cap(NoLatency());
  cap.OnOutOfMemory(64);
  Clean(cap, 32, 7);
  cap.OnOutOfMemory(32);
  Clean(cap, 16, 7);
  CHECK(cap.cap().images == 16);
  Clean(cap, 16);
  CHECK(cap.cap().images == 32);
}

TEST_CASE("Each time growing failed, it is tried again after twice as many clean batches, up to 64") {
  CapController cap(NoLatency());
  cap.OnOutOfMemory(64);
  for (const int needed : {8, 16, 32, 64, 64}) {
    INFO(needed);
    Clean(cap, 32, needed - 1);
    REQUIRE(cap.cap().images == 32);
    Clean(cap, 32);
    REQUIRE(cap.cap().images == 64);
    cap.OnOutOfMemory(64);
  }
}

TEST_CASE("Halves that fail one after the other are one event: growing is not put off for each") {
  CapController cap(NoLatency());
  for (int b = 64; b > 1; b /= 2) cap.OnOutOfMemory(b);
  CHECK(cap.cap().images == 1);
  int batches = 0;
  while (cap.cap().images < 64 && batches < 1000) {
    Clean(cap, cap.cap().images);
    ++batches;
  }
  CHECK(batches == 6 * 8);
}

TEST_CASE("The cap does not grow back while memory says that it cannot") {
  CapController cap(NoLatency());
  cap.OnOutOfMemory(64);
  cap.OnOutOfMemory(32);
  Clean(cap, 8);
  cap.OnMemory(1300, 1000);  // 235 bytes: 13 images
  Clean(cap, 8, 100);
  CHECK(cap.cap().images == 8);
  CHECK(cap.cap().set_by == "memory");
  cap.OnMemory(10'000, 1000);
  CHECK(cap.cap().images == 16);
  Clean(cap, 16, 8);
  CHECK(cap.cap().images == 32);
}

TEST_CASE("The cap is always a rung, at least one") {
  CapController cap({.max_batch = 48});
  for (int b = 1; b <= 48; ++b) {
    cap.OnBatch(b, b, absl::Milliseconds(13 * b), Took(b));
    cap.OnMemory(1100 + 20 * b, 1000);
    if (b % 7 == 0) cap.OnOutOfMemory(b);
    const CapController::Cap now = cap.cap();
    REQUIRE(now.images >= 1);
    REQUIRE(now.bulk >= 1);
    REQUIRE(now.bulk <= now.images);
    REQUIRE(cap.ladder().Down(now.images) == now.images);
    REQUIRE(cap.ladder().Down(now.bulk) == now.bulk);
  }
}

}  // namespace
}  // namespace embedd
