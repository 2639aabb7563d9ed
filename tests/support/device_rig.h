// SPDX-License-Identifier: Apache-2.0
//
// DeviceRig: everything a BatchRunner needs, with the fake executor and a clock that the test moves.

#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "server/device/batch_runner.h"
#include "tests/support/fake_executor.h"
#include "tests/support/recording_call.h"

namespace embedd {

struct DeviceRig {
  struct Options {
    int max_batch = 8;
    bool padded = false;
    ReleasePolicy::Options policy = {.kind = ReleaseKind::kNever};
    FakeExecutor::Options executor;
  };

  DeviceRig() : DeviceRig(Options()) {}
  explicit DeviceRig(Options options)
      : policy(options.policy),
        ladder(options.max_batch),
        executor(options.executor),
        padded(options.padded) {}

  BatchRunner::Deps deps() {
    return {.executor = &executor,
            .clock = &clock,
            .metrics = &metrics,
            .device_metrics = metrics.AddDevice("cpu"),
            .board = &board,
            .ledger = &ledger,
            .policy = &policy,
            .ladder = &ladder,
            .padded = padded};
  }

  // A batch of `n` images of one call: indexes and first bytes 0, 1, 2, …
  Batch MakeBatch(const std::shared_ptr<CallSink>& call, int n) {
    Batch batch;
    for (int i = 0; i < n; ++i) {
      batch.tasks.push_back(MakeTask(call, static_cast<uint32_t>(i), {.byte = static_cast<uint8_t>(i)}));
      batch.tasks.back().queued_at = clock.TimeNow();
    }
    return batch;
  }

  // As much device memory as a batch of `n` needs, and no byte more.
  void LimitToBatchOf(int n) {
    const FakeExecutor::Options o;
    executor.counting_memory().SetLimit(o.weight_bytes + o.fixed_bytes + n * o.bytes_per_image);
  }

  int64_t allocated() { return executor.memory().Read().allocated; }

  SimulatedClock clock;
  Metrics metrics;
  MemoryBoard board;
  BatchLedger ledger;
  ReleasePolicy policy;
  BucketLadder ladder;
  FakeExecutor executor;
  bool padded;
};

}  // namespace embedd
