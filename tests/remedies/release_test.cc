// SPDX-License-Identifier: Apache-2.0
//
// What each --release policy keeps; what each costs is measured by bench_release.

#include "tests/remedies/real_device.h"
#include "tests/support/catch.h"
#include "tests/support/quiet_stderr.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

int64_t Cache(RealDevice& device) { return device.reading().reserved - device.reading().allocated; }

TEST_CASE("Remedy 3: --release decides when the cache of a batch goes back to the system") {
  const QuietStderr quiet;
  using Kind = ReleaseKind;
  const Kind kind = GENERATE(Kind::kNever, Kind::kWatermark, Kind::kIdle, Kind::kAlways);
  RealDevice device({.policy = {.kind = kind, .idle_after = absl::Seconds(5)}});
  device.executor.memory().Trim();
  const int64_t baseline = device.reading().allocated;
  const auto run = [&](int n) { device.Run(std::make_shared<RecordingCall>(), n); };
  run(16);
  CHECK(device.reading().allocated == baseline);  // tensors are dropped whatever the policy
  CHECK((Cache(device) > 0) == (kind != Kind::kAlways));
  device.session.OnIdle(absl::Seconds(4));
  CHECK((Cache(device) > 0) == (kind != Kind::kAlways));
  device.session.OnIdle(absl::Seconds(5));
  CHECK((Cache(device) > 0) == (kind == Kind::kNever));
  // Near the limit: watermark lets go at once, the others as before.
  run(16);
  device.SetLimit(device.reading().reserved + device.reading().reserved / 4);
  run(16);
  CHECK((Cache(device) > 0) == (kind == Kind::kNever || kind == Kind::kIdle));
  device.SetLimit(0);
}

}  // namespace
}  // namespace embedd
