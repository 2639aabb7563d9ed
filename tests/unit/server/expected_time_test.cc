// SPDX-License-Identifier: Apache-2.0

#include "server/expected_time.h"

#include "tests/support/catch.h"
#include "tests/support/device_road.h"

namespace embedd {
namespace {

// A device that takes 10 ms for each image, at most 8 at once, and a thread that prepares; nothing waits.
struct Fixture {
  explicit Fixture(bool is_processor = false, bool prepare_measured = true)
      : road({.is_processor = is_processor}),
        prepare({.threads = 1}, {.clock = &road.clock, .cost = &cost, .prepare = [](PrepareItem) {}}) {
    if (prepare_measured) cost.Add(PrepareLoad::OfRaw(100), absl::Milliseconds(1));
    road.executor().SetScript({.on_run = [this](int, int bucket) {
      road.clock.AdvanceTime(absl::Milliseconds(10 * bucket));
      return absl::OkStatus();
    }});
  }
  double Ms(int images, absl::Duration preparing) {
    return absl::ToDoubleMilliseconds(
        ExpectedTime(*road.group, prepare, {.inputs = {{images}}, .prepare = preparing}));
  }

  DeviceRoad road;
  PrepareCost cost;
  PreparePool prepare;
};

TEST_CASE("Nothing is expected before the device has run anything, nor of guesses") {
  Fixture fixture(/*is_processor=*/false, /*prepare_measured=*/false);
  CHECK(fixture.Ms(16, absl::Seconds(1)) == 0);
  REQUIRE(fixture.road.group->Start().ok());
  CHECK(fixture.Ms(16, absl::Seconds(1)) == Approx(160));  // of the device alone
}

TEST_CASE("Beside a device of its own, what takes longer counts, and the batch after the last picture") {
  Fixture fixture;
  REQUIRE(fixture.road.group->Start().ok());
  CHECK(fixture.Ms(16, absl::Milliseconds(20)) == Approx(160));   // 20 + 80 are over before
  CHECK(fixture.Ms(16, absl::Milliseconds(100)) == Approx(180));  // 100, then a batch of 8
  CHECK(fixture.Ms(1, absl::Milliseconds(100)) == Approx(110));   // 100, then a batch of 1
}

TEST_CASE("Where batches run on the processor, preparing takes their time") {
  Fixture fixture(/*is_processor=*/true);
  REQUIRE(fixture.road.group->Start().ok());
  CHECK(fixture.Ms(16, absl::Milliseconds(20)) == Approx(180));
  CHECK(fixture.Ms(16, absl::Milliseconds(100)) == Approx(260));
}

}  // namespace
}  // namespace embedd
