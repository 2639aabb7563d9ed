// SPDX-License-Identifier: Apache-2.0
//
// The cap against the best fixed batch size, found by sweep on the same device.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "server/device/device_session.h"
#include "server/reply/reply_stage.h"
#include "tests/support/catch.h"
#include "tests/support/device_rig.h"
#include "tests/support/quiet_stderr.h"

namespace embedd {
namespace {

// t(b) = fixed + per_image * b, in ms; memory(b) = 100 + 100 b above the weights.
struct Device {
  double fixed_ms, per_image_ms;
  int fits;  // images that the limit has room for; 0: no limit
  absl::Duration latency_target;
  bool padded;
  std::string name;
};

constexpr int kMaxBatch = 64;

class NobodyListens final : public CallSink {
 public:
  void OnAnswer(uint32_t, Answer) override {}
};

struct Loop : DeviceRig {
  explicit Loop(const Device& device)
      : DeviceRig({.max_batch = kMaxBatch, .padded = device.padded}),
        cap({.max_batch = kMaxBatch, .latency_target = device.latency_target, .padded = device.padded}),
        session({.blank = {{std::vector<uint8_t>(3, 127)}}}, deps()) {
    executor.SetScript({.on_run = [this, device](int, int bucket) {
      clock.AdvanceTime(absl::Milliseconds(device.fixed_ms + device.per_image_ms * bucket));
      return absl::OkStatus();
    }});
    REQUIRE(session.Reload().ok());
    Limit(device.fits);
  }
  void Limit(int images) {
    if (images == 0) return executor.counting_memory().SetLimit(0);
    LimitToBatchOf(images);
  }
  // One batch of `n` images; the controller learns from it as on the device's thread.
  BatchReport Run(int n) {
    BatchReport report = session.Run(MakeBatch(std::make_shared<NobodyListens>(), n));
    cap.OnMemory(board.view().now.limit, board.view().baseline);
    for (const Attempt& attempt : report.attempts) {
      if (attempt.out_of_memory) {
        cap.OnOutOfMemory(attempt.bucket);
      } else if (attempt.ok) {
        cap.OnBatch(attempt.images, attempt.bucket, attempt.took, attempt.bytes);
      }
    }
    DeliverAnswers(std::move(report.finished));
    return report;
  }

  CapController cap;
  DeviceSession session;
};

// The fixed size with the most images a second that neither runs out of memory nor takes longer than the
// target.
int BestFixed(const Device& device) {
  int best = 1;
  double best_rate = 0;
  const BucketLadder ladder(kMaxBatch);
  for (const int rung : ladder.rungs()) {
    Loop loop(device);
    const absl::Time start = loop.clock.TimeNow();
    const BatchReport report = loop.Run(rung);
    const absl::Duration took = loop.clock.TimeNow() - start;
    if (report.attempts.size() > 1) continue;
    if (device.latency_target > absl::ZeroDuration() && took > device.latency_target) continue;
    const double rate = rung / absl::ToDoubleSeconds(took);
    if (rate > best_rate) best = rung;
    best_rate = std::max(best_rate, rate);
  }
  return best;
}

int Rung(int images) {
  const std::vector<int> rungs = BucketLadder(kMaxBatch).rungs();
  return static_cast<int>(std::find(rungs.begin(), rungs.end(), images) - rungs.begin());
}

// Batches after which the cap is within one rung of `best` for good (watched for 150).
int BatchesToConverge(Loop& loop, int best) {
  int last_off = 0;
  for (int batch = 1; batch <= 150; ++batch) {
    loop.Run(loop.cap.cap().images);
    if (std::abs(Rung(loop.cap.cap().images) - Rung(best)) > 1) last_off = batch;
  }
  return last_off + 1;
}

const std::vector<Device>& Devices() {
  static const auto* const devices = new std::vector<Device>{
      {5, 2, 0, absl::ZeroDuration(), false, "only max_batch"},
      {5, 2, 0, absl::ZeroDuration(), true, "only max_batch, padded"},
      {5, 2, 23, absl::ZeroDuration(), false, "memory"},
      {5, 2, 23, absl::ZeroDuration(), true, "memory, padded"},
      {5, 2, 3, absl::ZeroDuration(), false, "little memory"},
      {5, 2, 1, absl::ZeroDuration(), true, "memory for one"},
      {5, 2, 32, absl::ZeroDuration(), true, "memory for exactly 32"},
      {20, 10, 0, absl::Milliseconds(200), false, "latency"},
      {2, 3, 0, absl::Milliseconds(100), true, "latency, padded"},
      {50, 1, 9, absl::Milliseconds(200), true, "a large fixed cost, memory before latency"},
      {20, 10, 50, absl::Milliseconds(200), true, "latency before memory"},
  };
  return *devices;
}

// What the controller believes when the load begins.
enum class Start { kNothing, kWarmedUp, kAtTheBottom, kSlowTimes, kOneImage };

void Prepare(Loop& loop, Start start) {
  switch (start) {
    case Start::kNothing:
      break;
    case Start::kWarmedUp:
      REQUIRE(loop.session.Start(loop.cap).ok());
      break;
    case Start::kAtTheBottom:  // everything ran out of memory a moment ago
      for (int b = kMaxBatch; b >= 1; b /= 2) loop.cap.OnOutOfMemory(b);
      break;
    case Start::kSlowTimes:  // measured while something else had the device
      for (int i = 0; i < 16; ++i) {
        for (const int rung : loop.ladder.rungs()) {
          const BatchBytes bytes{.before = 1000, .peak = 1100 + 100 * rung, .after = 1000};
          loop.cap.OnBatch(rung, rung, absl::Seconds(rung), bytes);
        }
      }
      break;
    case Start::kOneImage:  // nobody sent more until now
      for (int i = 0; i < 100; ++i) loop.Run(1);
      break;
  }
}

TEST_CASE(
    "Remedy 2: from any start the cap is within one bucket of the best fixed size in under 50 batches") {
  const QuietStderr quiet;
  int most = 0;
  for (const Device& device : Devices()) {
    const int best = BestFixed(device);
    for (const Start start :
         {Start::kNothing, Start::kWarmedUp, Start::kAtTheBottom, Start::kSlowTimes, Start::kOneImage}) {
      Loop loop(device);
      Prepare(loop, start);
      INFO(device.name << ", start " << static_cast<int>(start) << ", best " << best << ", cap "
                       << loop.cap.cap().images << " by " << loop.cap.cap().set_by);
      const int batches = BatchesToConverge(loop, best);
      CHECK(batches < 50);
      most = std::max(most, batches);
    }
  }
  std::printf("%d devices, 5 starts each: within one bucket of the best after %d batches at most\n",
              static_cast<int>(Devices().size()), most);
}

TEST_CASE(
    "Remedy 2: after the limit changes while it runs, the cap follows in under 50 batches, down and up "
    "again") {
  const QuietStderr quiet;
  int most = 0;
  for (Device device : Devices()) {
    Loop loop(device);
    BatchesToConverge(loop, BestFixed(device));
    for (const int fits : {9, 2, 40, 17, 1, 64, 5, 0}) {
      device.fits = fits;
      loop.Limit(fits);
      const int best = BestFixed(device);
      const int batches = BatchesToConverge(loop, best);
      INFO(device.name << ", then room for " << fits << ", best " << best << ", cap " << loop.cap.cap().images
                       << " by " << loop.cap.cap().set_by);
      CHECK(batches < 50);
      most = std::max(most, batches);
    }
  }
  std::printf(
      "%d devices, 8 changes of the limit each: within one bucket of the best after %d batches at most\n",
      static_cast<int>(Devices().size()), most);
}

TEST_CASE("Remedy 2: once it has converged the cap hardly ever runs out of memory") {
  const QuietStderr quiet;
  for (const Device& device : Devices()) {
    Loop loop(device);
    BatchesToConverge(loop, BestFixed(device));
    int out_of_memory = 0;
    for (int batch = 0; batch < 500; ++batch) {
      for (const Attempt& attempt : loop.Run(loop.cap.cap().images).attempts)
        out_of_memory += attempt.out_of_memory;
    }
    INFO(device.name);
    CHECK(out_of_memory <= 5);
  }
}

}  // namespace
}  // namespace embedd
