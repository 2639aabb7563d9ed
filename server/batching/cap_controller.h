// SPDX-License-Identifier: Apache-2.0
//
// CapController: the largest batch that a device may run at the moment, and why. The cap is the least of
//   max_batch  what the operator allows
//   memory     what fits limit - baseline - margin, by the MemoryModel
//   latency    the largest rung that the device finishes within the latency target, by the TimeModel;
//   interactive
//              batches may be as large as `efficient_batch` even so, up to `efficient_slack` times the
//              target: below that size a device computes markedly fewer images a second, and everybody would
//              wait longer
//   oom        half of a size that ran out of memory; grows back one rung after some clean full batches, each
//              failure doubling how many, and only while memory agrees
// Always a rung of the ladder. Not thread-safe; DeviceThread guards it.

#pragma once

#include <cstdint>
#include <string_view>

#include "absl/time/time.h"
#include "server/batching/bucket_ladder.h"
#include "server/batching/memory_model.h"
#include "server/batching/time_model.h"
#include "server/release/batch_memory.h"

namespace embedd {

class CapController {
 public:
  struct Options {
    int max_batch = 64;  // images, as the operator allows
    // A batch that others wait for takes no longer than this; zero: no cap from latency.
    absl::Duration latency_target = absl::Milliseconds(200);
    // Images. A CPU of few cores is saturated from here on (docs/performance.md).
    int efficient_batch = 8;
    // Times the latency target that an efficient batch may take. Ten: where eight images take over two
    // seconds, a caller who waits for one image would rather have smaller batches than more images a second.
    double efficient_slack = 10;
    bool padded = false;          // the device runs whole rungs (mps, cuda)
    double memory_margin = 0.05;  // of the limit, kept free: batches differ a little from the fitted line
    int regrow_after = 8;         // clean full batches before the cap grows after an out-of-memory
    // Clean full batches at most, after failures that each doubled it. 64: a size that never fits costs one
    // failed attempt in 64 batches, and one that fits again is found within seconds.
    int regrow_after_most = 64;
  };

  explicit CapController(Options options);

  // A batch of n images, run as `bucket`, ended well.
  void OnBatch(int n, int bucket, absl::Duration took, const BatchBytes& bytes);
  // A batch run as `bucket` images ran out of memory.
  void OnOutOfMemory(int bucket);
  // The device's limit (0 = none) and what is allocated at rest.
  void OnMemory(int64_t limit, int64_t baseline);

  struct Cap {
    int images = 1;  // of an interactive batch
    // Of a batch with bulk images in it: never longer than the latency target, if one image fits it.
    int bulk = 1;
    std::string_view set_by = "max_batch";
  };
  const Cap& cap() const { return cap_; }

  const BucketLadder& ladder() const { return ladder_; }
  const TimeModel& time() const { return time_; }

 private:
  void GrowAfterClean(int bucket);
  // After each change: callers ask for the cap far more often than it changes.
  void Update();
  int MemoryCap() const;
  // The largest rung that takes at most `target`; the first one when none does.
  int LargestWithin(absl::Duration target) const;

  Options options_;
  BucketLadder ladder_;
  TimeModel time_;
  MemoryModel memory_;
  int64_t limit_ = 0;
  int64_t baseline_ = 0;
  int oom_cap_;        // largest(): no out-of-memory in force
  int clean_ = 0;      // clean full batches since the last change of oom_cap_
  bool grew_ = false;  // that change made it larger, and the new size has not proven itself yet
  int regrow_after_;
  Cap cap_;
};

}  // namespace embedd
