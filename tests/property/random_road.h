// SPDX-License-Identifier: Apache-2.0
//
// RandomRoad: the core of the road from admission to answer, driven by one thread, a simulated clock and a
// random schedule: calls of several sizes, lanes, flows and deadlines come, some are cancelled, the device
// runs out of memory, fails, spoils rows or is lost. It checks the invariants while it goes and remembers the
// first broken one (no exception: the road would catch it).

#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "server/batching/batch_former.h"
#include "server/device/device_session.h"
#include "server/queue/bounded_queue.h"
#include "server/reply/pending_call.h"
#include "tests/support/fake_executor.h"

namespace embedd {

// What happened in many schedules, to compare with the metrics and to see that the schedules are worth
// something.
struct RoadTotals {
  int64_t inputs = 0;  // that entered the road
  int64_t ok = 0, rejected = 0, expired = 0, cancelled = 0, failed = 0;
  int64_t refused_calls = 0, ok_calls = 0, batches = 0, attempts = 0, out_of_memory = 0, lost_devices = 0;
  int64_t bad_rows = 0;  // that were found
  int64_t padding = 0;
};

class RandomRoad {
 public:
  RandomRoad(uint64_t seed, Metrics* metrics, RoadTotals* totals);
  ~RandomRoad();

  // Plays the schedule to its end, where everything is answered and given back. The first broken invariant,
  // or nothing.
  std::string Play();

 private:
  class Call;
  friend class Call;

  void Expect(bool holds, const char* what) {
    if (!holds && broken_.empty()) broken_ = what;
  }
  uint32_t Pick(uint32_t n) { return static_cast<uint32_t>(random_() % n); }  // 0 … n - 1
  bool Chance(double p) { return static_cast<double>(random_() >> 11) * 0x1p-53 < p; }
  absl::Duration PickMs(uint32_t most) { return absl::Milliseconds(Pick(most)); }

  void Step();
  void NewCall();
  void CancelOne();
  void ChangeLimit();
  Batch FormBatch();
  void RunOne();
  void Learn(const BatchReport& report);
  absl::Status OnRun(int bucket);
  void OnRows(absl::Span<float> rows);
  void CheckEnd();

  std::string broken_;
  std::mt19937_64 random_;
  Metrics* const metrics_;
  RoadTotals* const totals_;
  int steps_left_;
  const bool padded_;
  const bool with_deadlines_;
  const double trouble_;  // chance of a failing attempt
  const double ms_fixed_, ms_per_image_;

  SimulatedClock clock_;
  MemoryBoard board_;
  BatchLedger ledger_;
  ReleasePolicy policy_;
  CapController cap_;
  FakeExecutor executor_;
  PlaceBudget budget_;
  BoundedQueue queue_;
  DeviceSession session_;

  std::vector<std::shared_ptr<Call>> calls_;
  bool lost_ = false;
  int64_t spoiled_rows_ = 0, bad_output_answers_ = 0;
};

}  // namespace embedd
