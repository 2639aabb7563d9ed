// SPDX-License-Identifier: Apache-2.0

#include "server/batching/batch_former.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

// A controller that knows: n images take c + a * n milliseconds.
CapController Known(CapController::Options options, double c, double a) {
  CapController cap(options);
  for (const int rung : cap.ladder().rungs()) cap.OnBatch(rung, rung, absl::Milliseconds(c + a * rung), {});
  return cap;
}

constexpr CapController::Options kNoLatency{.max_batch = 16, .latency_target = absl::ZeroDuration()};

TEST_CASE("A batch takes what waits, up to the cap") {
  const CapController cap(kNoLatency);
  CHECK(PlanBatch({.interactive = 3, .bulk = 0}, cap, false).max_images == 3);
  CHECK(PlanBatch({.interactive = 3, .bulk = 4}, cap, false).max_images == 7);
  CHECK(PlanBatch({.interactive = 300, .bulk = 4}, cap, false).max_images == 16);
  CHECK(PlanBatch({.interactive = 0, .bulk = 300}, cap, false).max_with_bulk == 16);
}

TEST_CASE("A batch with bulk in it keeps to the bulk cap, one without may be larger") {
  const CapController cap = Known({.max_batch = 16, .latency_target = absl::Milliseconds(200)}, 0, 60);
  REQUIRE(cap.cap().images == 8);
  REQUIRE(cap.cap().bulk == 2);
  const BoundedQueue::Want only_interactive = PlanBatch({.interactive = 20, .bulk = 0}, cap, false);
  CHECK(only_interactive.max_images == 8);
  const BoundedQueue::Want only_bulk = PlanBatch({.interactive = 0, .bulk = 20}, cap, false);
  CHECK(only_bulk.max_images == 2);
  CHECK(only_bulk.max_with_bulk == 2);
  const BoundedQueue::Want both = PlanBatch({.interactive = 5, .bulk = 20}, cap, false);
  CHECK(both.max_images == 5);
  CHECK(both.max_with_bulk == 2);
  const BoundedQueue::Want filled = PlanBatch({.interactive = 1, .bulk = 20}, cap, false);
  CHECK(filled.max_images == 2);
}

TEST_CASE("Where whole rungs run, padding up is chosen when it costs less per image") {
  // 5 images: rung 8 takes 28 ms, 5.6 an image; rung 4 takes 24 ms, 6 an image.
  const CapController fixed_cost = Known(kNoLatency, 20, 1);
  CHECK(PlanBatch({.interactive = 5, .bulk = 0}, fixed_cost, true).max_images == 5);
  // 5 images: rung 8 takes 80 ms, 16 an image; rung 4 takes 40 ms, 10 an image.
  const CapController no_fixed_cost = Known(kNoLatency, 0, 10);
  CHECK(PlanBatch({.interactive = 5, .bulk = 0}, no_fixed_cost, true).max_images == 4);
  CHECK(PlanBatch({.interactive = 5, .bulk = 0}, no_fixed_cost, false).max_images == 5);
  CHECK(PlanBatch({.interactive = 4, .bulk = 0}, no_fixed_cost, true).max_images == 4);
}

TEST_CASE("While nothing is known, everything that waits is taken") {
  CHECK(PlanBatch({.interactive = 5, .bulk = 0}, CapController(kNoLatency), true).max_images == 5);
}

TEST_CASE("The plan tells how long batches take, and outlives the controller") {
  BoundedQueue::Want want;
  {
    const CapController cap = Known(kNoLatency, 10, 5);
    want = PlanBatch({.interactive = 8, .bulk = 0}, cap, true);
  }
  CHECK(absl::ToDoubleMilliseconds(want.batch_time(8)) == Approx(50));
  CHECK(absl::ToDoubleMilliseconds(want.batch_time(1)) == Approx(15));
  CHECK(absl::ToDoubleMilliseconds(want.batch_time(100)) == Approx(50));
  CHECK(want.batch_time(0) == absl::ZeroDuration());
}

}  // namespace
}  // namespace embedd
