// SPDX-License-Identifier: Apache-2.0

#include "server/batching/memory_model.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Two sizes that follow a line give that line") {
  MemoryModel model;
  model.Add(4, 1000 + 4 * 50);
  model.Add(16, 1000 + 16 * 50);
  CHECK(model.line().alpha == Approx(50));
  CHECK(model.line().beta == Approx(1000));
  CHECK(model.LargestFitting(1000 + 10 * 50, 64) == 10);
  CHECK(model.LargestFitting(1000 + 10 * 50 - 1, 64) == 9);
}

TEST_CASE("One size alone is taken to be all per image, which errs on the safe side above it") {
  MemoryModel model;
  model.Add(8, 800);
  CHECK(model.line().alpha == Approx(100));
  CHECK(model.line().beta == 0);
  CHECK(model.LargestFitting(1600, 64) == 16);
}

TEST_CASE("While nothing is known everything fits") {
  const MemoryModel model;
  CHECK(model.LargestFitting(1, 64) == 64);
}

TEST_CASE("At least one image fits, and never more than the largest batch") {
  MemoryModel model;
  model.Add(1, 100);
  model.Add(2, 200);
  CHECK(model.LargestFitting(-500, 64) == 1);
  CHECK(model.LargestFitting(0, 64) == 1);
  CHECK(model.LargestFitting(1'000'000, 64) == 64);
}

TEST_CASE("Batches that take nothing say that everything fits") {
  MemoryModel model;
  for (const int b : {1, 2, 4}) model.Add(b, 0);
  CHECK(model.LargestFitting(0, 64) == 64);
}

TEST_CASE("Of each size the 95th percentile of the last 20 counts: one freak in twenty does not, two do") {
  MemoryModel model;
  for (int i = 0; i < 19; ++i) model.Add(4, 400);
  model.Add(4, 4000);
  CHECK(model.line().alpha == Approx(100));
  model.Add(4, 4000);
  CHECK(model.line().alpha == Approx(1000));
  for (int i = 0; i < 20; ++i) model.Add(4, 200);
  CHECK(model.line().alpha == Approx(50));
}

TEST_CASE("A line is never negative") {
  MemoryModel model;
  model.Add(1, 1000);
  model.Add(64, 10);
  CHECK(model.line().alpha == 0);
  MemoryModel steep;
  steep.Add(1, 10);
  steep.Add(2, 100);
  CHECK(steep.line().beta == 0);
}

}  // namespace
}  // namespace embedd
