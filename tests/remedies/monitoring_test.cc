// SPDX-License-Identifier: Apache-2.0

#include <string>

#include "tests/remedies/real_device.h"
#include "tests/support/captured_stderr.h"
#include "tests/support/catch.h"
#include "tests/support/metric_value.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

int CountLines(CapturedStderr& captured, const std::string& text, const std::string& field) {
  int count = 0;
  for (const std::string& line : captured.Lines()) {
    count += line.find(text) != std::string::npos && line.find(field) != std::string::npos;
  }
  return count;
}

TEST_CASE("Remedy 5: memory that grows between batches is a leak by its slope, though every batch is clean") {
  CapturedStderr captured;
  RealDevice device;
  for (int batch = 0; batch < 499; ++batch) {
    device.Run(std::make_shared<RecordingCall>(), 1);
    device.executor.Leak(2048);
  }
  CHECK(MetricValue(device.metrics, "embedd_batch_unreleased_bytes") == 0);  // none of them kept anything
  device.Run(std::make_shared<RecordingCall>(), 1);
  CHECK(MetricValue(device.metrics, "embedd_batch_unreleased_bytes") == 0);
  device.executor.ForgetLeaks();
  CHECK(CountLines(captured, "device memory grows batch by batch", "bytes_per_batch=2048") == 1);
}

TEST_CASE("Remedy 5: every batch has a record, and a line a minute says what device and process hold") {
  CapturedStderr captured;
  RealDevice device;
  for (int minute = 0; minute < 3; ++minute) {
    for (int batch = 0; batch < 2; ++batch) device.Run(std::make_shared<RecordingCall>(), 2 + batch);
    device.clock.AdvanceTime(absl::Minutes(1));
  }
  const std::vector<BatchRecord> records = device.ledger.Last();
  REQUIRE(records.size() == 6);
  CHECK(records[5].size == 3);
  CHECK(records[5].bytes.peak - records[5].bytes.before > records[4].bytes.peak - records[4].bytes.before);
  CHECK(ToJson(records).find("\"peak\": " + std::to_string(records[5].bytes.peak)) != std::string::npos);
  CHECK(CountLines(captured, "memory", "process=") == 3);
}

}  // namespace
}  // namespace embedd
