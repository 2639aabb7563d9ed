// SPDX-License-Identifier: Apache-2.0

#include <string>

#include "tests/remedies/real_device.h"
#include "tests/support/captured_stderr.h"
#include "tests/support/catch.h"
#include "tests/support/quiet_stderr.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

TEST_CASE(
    "Remedy 4: the weights leave when idle, at most 1 % stays, and the next batch brings the same ones "
    "back") {
  CapturedStderr captured;
  RealDevice device({.session = {.idle_offload = absl::Seconds(60)}});
  REQUIRE(device.session.Start(device.cap).ok());
  const int64_t model = device.reading().allocated;
  const auto before = std::make_shared<RecordingCall>(), after = std::make_shared<RecordingCall>();
  device.Run(before, 4);
  device.session.OnIdle(absl::Seconds(59));
  CHECK(device.reading().allocated == model);
  device.session.OnIdle(absl::Seconds(60));
  CHECK(device.reading().allocated <= model / 100);
  CHECK(device.reading().reserved <= model / 100);
  CHECK_FALSE(device.session.on_device(Tower::kImage));
  CHECK(device.executor.loads == 1);

  device.Run(after, 4);
  CHECK(device.session.on_device(Tower::kImage));
  CHECK(device.executor.loads == 2);
  CHECK(device.reading().allocated == model);
  for (uint32_t i = 0; i < 4; ++i) CHECK(after->told(i).row == before->told(i).row);  // to the bit
  device.Run(std::make_shared<RecordingCall>(), 4);
  CHECK(device.executor.loads == 2);

  int times_shown = 0;
  for (const std::string& line : captured.Lines()) {
    times_shown += line.find("the weights are on the device") != std::string::npos &&
                   line.find("seconds=") != std::string::npos;
  }
  CHECK(times_shown == 2);
}

TEST_CASE("Remedy 4: when the weights do not fit any more the batch fails alone, and later they come back") {
  const QuietStderr quiet;
  RealDevice device;
  REQUIRE(device.session.Start(device.cap).ok());
  REQUIRE(device.session.Offload().ok());
  device.SetLimit(1 << 20);
  const auto failed = std::make_shared<RecordingCall>(), fine = std::make_shared<RecordingCall>();
  CHECK_FALSE(device.Run(failed, 2).device_lost);
  CHECK(failed->answer(0).reason == Reason::kDeviceMemory);
  CHECK(device.reading().allocated <= 1 << 20);
  device.SetLimit(0);
  device.Run(fine, 2);
  CHECK(fine->answer(0).outcome == Outcome::kOk);
}

}  // namespace
}  // namespace embedd
