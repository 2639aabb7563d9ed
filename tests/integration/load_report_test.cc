// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/load_report.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("A load report is the protobuf that balancers read: doubles in fields 6 and 9") {
  const std::string report = OrcaLoadReport(1.0, 0.5);
  const unsigned char expected[] = {0x31, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x49, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f};
  CHECK(report == std::string(reinterpret_cast<const char*>(expected), sizeof(expected)));
}

TEST_CASE("The rate is that of the last seconds, and forgets what was before") {
  SimulatedClock clock;
  RateMeter meter(&clock, absl::Seconds(5));
  CHECK(meter.PerSecond() == 0);
  for (int i = 0; i < 200; ++i) {
    meter.Count(10);
    clock.AdvanceTime(absl::Milliseconds(100));
  }
  CHECK(meter.PerSecond() == Approx(100).epsilon(0.1));
  clock.AdvanceTime(absl::Minutes(1));
  CHECK(meter.PerSecond() < 20);
  meter.Count(1);
  CHECK(meter.PerSecond() <= 1);
}

}  // namespace
}  // namespace embedd
