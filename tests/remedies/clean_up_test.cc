// SPDX-License-Identifier: Apache-2.0

#include <limits>
#include <stdexcept>
#include <string>

#include "tests/remedies/real_device.h"
#include "tests/support/captured_stderr.h"
#include "tests/support/catch.h"
#include "tests/support/metric_value.h"
#include "tests/support/quiet_stderr.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

constexpr int kImages = 8;

// Bytes of the device after it are those before it, and what it took is in the record.
void CheckGivenBack(RealDevice& device, int64_t baseline, std::string_view outcome) {
  const BatchRecord record = device.ledger.Last(1).at(0);
  CHECK(record.outcome == outcome);
  CHECK(record.bytes.before == baseline);
  CHECK(record.bytes.after == baseline);
  CHECK(record.bytes.peak > baseline);  // it did take something
  CHECK(record.bytes.unreleased() == 0);
  CHECK(device.reading().allocated == baseline);
  CHECK(MetricValue(device.metrics, "embedd_batch_unreleased_bytes") == 0);
}

TEST_CASE("Remedy 1: a batch gives its memory back however it ends") {
  const QuietStderr quiet;
  RealDevice device;
  const auto call = std::make_shared<RecordingCall>();
  const int64_t baseline = device.reading().allocated;
  SECTION("success") {
    device.Run(call, kImages);
    CHECK(call->answer(0).outcome == Outcome::kOk);
    CheckGivenBack(device, baseline, "ok");
  }
  SECTION("bad output") {
    device.executor.on_rows = [](absl::Span<float> rows) {
      rows[0] = std::numeric_limits<float>::quiet_NaN();
    };
    device.Run(call, kImages);
    CHECK(call->answer(0).reason == Reason::kBadOutput);
    CHECK(call->answer(1).outcome == Outcome::kOk);
    CheckGivenBack(device, baseline, "bad_output");
  }
  SECTION("exception") {
    device.executor.on_run = [] { throw std::runtime_error("a bug"); };
    device.Run(call, kImages);
    CHECK(call->answer(0).reason == Reason::kInternalError);
    CheckGivenBack(device, baseline, "failed");
  }
  SECTION("cancelled while it runs") {
    device.executor.on_run = [&] { call->MarkDead(); };
    device.Run(call, kImages);
    CHECK(call->answers() == kImages);
    CheckGivenBack(device, baseline, "ok");
  }
  SECTION("cancelled before it runs") {
    call->MarkDead();
    device.Run(call, kImages);
    CHECK(call->answer(0).outcome == Outcome::kCancelled);
    CHECK(device.ledger.Last(1).empty());  // no device work at all
    CHECK(device.reading().allocated == baseline);
  }
  SECTION("out of memory, split") {
    device.SetLimit(device.PeakOf(kImages / 2));
    CHECK(device.Run(call, kImages).attempts.size() == 3);
    for (uint32_t i = 0; i < kImages; ++i) CHECK(call->answer(i).outcome == Outcome::kOk);
    CheckGivenBack(device, baseline, "ok");
  }
  SECTION("out of memory, for good") {
    device.SetLimit(baseline + 65536);  // less than the pixels of one image and its patches
    device.Run(call, 1);
    CHECK(call->answer(0).reason == Reason::kDeviceMemory);
    CHECK(device.ledger.Last(1).at(0).outcome == "oom_failed");
    CHECK(device.reading().allocated == baseline);
  }
  device.SetLimit(0);
}

TEST_CASE("Remedy 1: what a batch keeps raises the metric, and the alarm names the batch") {
  CapturedStderr captured;
  RealDevice device;
  const auto call = std::make_shared<RecordingCall>();
  device.Run(call, 1);
  device.executor.leak_bytes = 3 << 20;
  device.Run(call, 1);
  CHECK(MetricValue(device.metrics, "embedd_batch_unreleased_bytes") == 3 << 20);
  bool named = false;
  for (const std::string& line : captured.Lines()) {
    named = named ||
            (line.find("did not give all of its memory back") != std::string::npos &&
             line.find("batch=2") != std::string::npos && line.find("bytes=3145728") != std::string::npos);
  }
  CHECK(named);
  device.executor.ForgetLeaks();
}

}  // namespace
}  // namespace embedd
