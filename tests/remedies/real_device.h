// SPDX-License-Identifier: Apache-2.0
//
// RealDevice: the road below the scheduler with nothing faked but the clock: DeviceSession, BatchRunner, the
// real executor with the demo model, and the counting CPU allocator, whose limit makes out of memory real.
// Faults that a healthy model does not show are scripted around the executor. The header does not see
// LibTorch.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "server/device/device_session.h"
#include "server/device/executor.h"

namespace embedd {

// A real executor with faults around it.
class ScriptedExecutor final : public Executor {
 public:
  explicit ScriptedExecutor(std::unique_ptr<Executor> real);
  ~ScriptedExecutor() override;

  absl::Status Load(Tower tower) override;
  absl::Status Offload() override { return real_->Offload(); }
  bool loaded(Tower tower) const override { return real_->loaded(tower); }
  absl::Status Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                   absl::Span<float> rows) override;
  void Synchronize() override { real_->Synchronize(); }
  DeviceMemory& memory() override { return real_->memory(); }
  int dimension() const override { return real_->dimension(); }

  // Called in each Run while a tensor of the batch is alive; may throw.
  std::function<void()> on_run;
  // Called on the rows before they are returned; may spoil them.
  std::function<void(absl::Span<float>)> on_rows;
  int64_t leak_bytes = 0;  // taken by every batch and kept until ForgetLeaks
  int loads = 0;           // that put weights on the device

  // Takes device memory outside any batch and keeps it.
  void Leak(int64_t bytes);
  void ForgetLeaks();

 private:
  struct Blocks;
  const std::unique_ptr<Executor> real_;
  const std::unique_ptr<Blocks> leaked_;
};

class RealDevice {
 public:
  struct Options {
    int max_batch = 64;
    ReleasePolicy::Options policy = {.kind = ReleaseKind::kWatermark};
    DeviceSession::Options session;
  };
  RealDevice() : RealDevice(Options()) {}
  explicit RealDevice(Options options);

  // Pictures that the tests use, by number: noise, each different.
  static constexpr int kPictures = 128;

  // Images whose number is first, first + 1, … (modulo kPictures), in one batch of one call.
  Batch MakeBatch(const std::shared_ptr<CallSink>& call, int n, int first = 0);
  // Runs such a batch, hands the answers out and lets `cap` learn from it, as the scheduler does.
  BatchReport Run(const std::shared_ptr<CallSink>& call, int n, int first = 0, CapController* cap = nullptr);

  MemoryReading reading() { return executor.memory().Read(); }
  // Most allocated bytes while a batch of n runs.
  int64_t PeakOf(int n);
  // The server may hold this much from now on; 0 = as much as there is.
  void SetLimit(int64_t bytes);

  SimulatedClock clock;
  Metrics metrics;
  MemoryBoard board;
  BatchLedger ledger;
  const ReleasePolicy policy;
  const BucketLadder ladder;
  ScriptedExecutor executor;
  DeviceSession session;
  CapController cap;

 private:
  BatchRunner::Deps deps();
  int64_t pixel_bytes_ = 0;
};

// A call that compares each row with that of the same picture run alone.
class CheckedCall final : public CallSink {
 public:
  // `rows[i]`: of picture i, alone. The call's images start with picture `first`.
  CheckedCall(const std::vector<std::vector<float>>* rows, int first, int n)
      : answers(static_cast<size_t>(n), 0), rows_(rows), first_(first) {}
  void OnAnswer(uint32_t index, Answer answer) override;

  std::vector<int> answers;       // for each image; 1 is right
  int wrong = 0;                  // not OK, or another vector
  double largest_difference = 0;  // between unit vectors

  int lost() const;

 private:
  const std::vector<std::vector<float>>* const rows_;
  const int first_;
};

// The row of each picture, run alone.
std::vector<std::vector<float>> RowsAlone(RealDevice& device);

}  // namespace embedd
