// SPDX-License-Identifier: Apache-2.0

#include "server/batching/time_model.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

double Ms(absl::Duration d) { return absl::ToDoubleMilliseconds(d); }

TEST_CASE("Nothing is known at first, and nonsense teaches nothing") {
  TimeModel model(BucketLadder(64), false);
  CHECK(model.Predict(8) == absl::ZeroDuration());
  CHECK(model.Rate(8) == 0);
  model.Add(0, absl::Seconds(1));
  model.Add(4, -absl::Seconds(1));
  CHECK(model.Predict(8) == absl::ZeroDuration());
}

TEST_CASE("A rung that was measured is predicted by the median of its last batches") {
  TimeModel model(BucketLadder(64), true);
  for (const int ms : {100, 102, 900, 98, 101}) model.Add(8, absl::Milliseconds(ms));
  CHECK(Ms(model.Predict(8)) == Approx(101));
  for (int i = 0; i < 16; ++i) model.Add(8, absl::Milliseconds(50));  // the device got faster
  CHECK(Ms(model.Predict(8)) == Approx(50));
}

TEST_CASE("Where whole rungs run, n images cost as much as the rung above") {
  TimeModel model(BucketLadder(64), true);
  model.Add(8, absl::Milliseconds(80));
  CHECK(Ms(model.Predict(5)) == Approx(80));
  CHECK(Ms(model.Predict(8)) == Approx(80));
  CHECK(model.Rate(5) == Approx(62.5));
}

TEST_CASE("Without padding, sizes between rungs count in proportion") {
  TimeModel model(BucketLadder(64), false);
  model.Add(6, absl::Milliseconds(60));
  CHECK(Ms(model.Predict(8)) == Approx(80));
  CHECK(Ms(model.Predict(5)) == Approx(50));
  CHECK(model.Rate(5) == Approx(100));
}

TEST_CASE("A rung that never ran is guessed in proportion to its neighbour, the smaller one first") {
  TimeModel model(BucketLadder(64), true);
  model.Add(16, absl::Milliseconds(160));
  CHECK(Ms(model.Predict(4)) == Approx(40));
  CHECK(Ms(model.Predict(64)) == Approx(640));
  model.Add(8, absl::Milliseconds(90));
  CHECK(Ms(model.Predict(4)) == Approx(45));
}

TEST_CASE("A rung measured in a bad moment is corrected by the rung below it") {
  TimeModel model(BucketLadder(64), true);
  model.Add(8, absl::Milliseconds(80));
  model.Add(16, absl::Seconds(9));
  CHECK(Ms(model.Predict(16)) == Approx(160));
}

TEST_CASE("After the device was slow for a while, one rung that is fast again corrects all above it") {
  TimeModel model(BucketLadder(16), true);
  for (const int rung : {1, 2, 4, 8, 16}) model.Add(rung, absl::Seconds(rung));
  for (int i = 0; i < 16; ++i) model.Add(1, absl::Milliseconds(10));
  CHECK(Ms(model.Predict(16)) == Approx(160));
}

TEST_CASE("Larger than the largest rung costs what the largest costs") {
  TimeModel model(BucketLadder(8), true);
  model.Add(8, absl::Milliseconds(80));
  CHECK(Ms(model.Predict(100)) == Approx(80));
}

TEST_CASE("A clock that stood still does not break the model") {
  TimeModel model(BucketLadder(8), true);
  model.Add(8, absl::ZeroDuration());
  CHECK(model.Predict(8) == absl::ZeroDuration());
  CHECK(model.Rate(8) == 0);
}

}  // namespace
}  // namespace embedd
