// SPDX-License-Identifier: Apache-2.0
//
// The cap against real peaks of a real model. tests/property/cap_convergence_test.cc does the same on
// simulated devices of every kind, latency and padding included.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/remedies/real_device.h"
#include "tests/support/catch.h"
#include "tests/support/quiet_stderr.h"

namespace embedd {
namespace {

constexpr int kMaxBatch = 16;

class NobodyListens final : public CallSink {
 public:
  void OnAnswer(uint32_t, Answer) override {}
};

int Rung(const RealDevice& device, int images) {
  const std::vector<int>& rungs = device.ladder.rungs();
  return static_cast<int>(std::find(rungs.begin(), rungs.end(), images) - rungs.begin());
}

// The largest size that runs in one piece under the limit in force: with no latency target, the best one.
int BestBySweep(RealDevice& device) {
  int best = 0;
  for (const int rung : device.ladder.rungs()) {
    if (device.Run(std::make_shared<NobodyListens>(), rung).attempts.size() == 1) best = rung;
  }
  return best;
}

// Full batches until the cap is within one rung of `best` and stays there (watched for 60).
int BatchesToConverge(RealDevice& device, CapController& cap, int best) {
  int last_off = 0;
  for (int batch = 1; batch <= 60; ++batch) {
    device.Run(std::make_shared<NobodyListens>(), cap.cap().images, 0, &cap);
    if (std::abs(Rung(device, cap.cap().images) - Rung(device, best)) > 1) last_off = batch;
  }
  return last_off + 1;
}

TEST_CASE(
    "Remedy 2: from any start the batch size finds what fits in under 50 batches, also when the limit "
    "moves") {
  const QuietStderr quiet;
  RealDevice device({.max_batch = kMaxBatch});
  const int64_t room_for_10 = device.PeakOf(10), room_for_3 = device.PeakOf(3);
  CapController cap({.max_batch = kMaxBatch, .latency_target = absl::ZeroDuration()});
  std::string start = "knowing nothing";
  SECTION("knowing nothing") {}
  SECTION("after everything ran out of memory") {
    start = "after everything ran out of memory";
    for (int b = kMaxBatch; b >= 1; b /= 2) cap.OnOutOfMemory(b);
  }
  SECTION("after single images only") {
    start = "after single images only";
    for (int i = 0; i < 50; ++i) device.Run(std::make_shared<NobodyListens>(), 1, 0, &cap);
  }
  // Another process takes memory, and gives some of it back.
  for (const int64_t limit : {room_for_10, room_for_3, room_for_10}) {
    device.SetLimit(limit);
    const int best = BestBySweep(device);
    CHECK(best == (limit == room_for_10 ? 8 : 2));
    const int batches = BatchesToConverge(device, cap, best);
    std::printf("%s, limit %.1f MiB: best %d, cap %d set by %s, within one bucket from batch %d on\n",
                start.c_str(), static_cast<double>(limit) / (1 << 20), best, cap.cap().images,
                std::string(cap.cap().set_by).c_str(), batches);
    start = "then";
    CHECK(batches < 50);
    CHECK(cap.cap().set_by == "memory");
  }
  device.SetLimit(0);
}

}  // namespace
}  // namespace embedd
