// SPDX-License-Identifier: Apache-2.0
//
// BatchRunner: runs one batch on the device and answers for every image of it. Out of memory is an event
// here: the device is trimmed, the batch is halved and both halves run, order kept. An image that does not
// fit even alone runs once more after compiled graphs were dropped too, and then fails alone: log2(n) + 1
// levels at most (two for a batch of one). Every attempt runs inside a BatchMemory scope and leaves a record.
// Used by the device thread only.

#pragma once

#include <cstdint>

#include "server/batching/bucket_ladder.h"
#include "server/device/batch.h"
#include "server/device/executor.h"
#include "server/release/leak_watch.h"
#include "server/release/memory_board.h"
#include "server/release/release_policy.h"
#include "server/support/clock.h"
#include "server/telemetry/batch_ledger.h"
#include "server/telemetry/metrics.h"

namespace embedd {

class BatchRunner {
 public:
  struct Deps {
    Executor* executor;
    Clock* clock;
    Metrics* metrics;
    DeviceMetrics* device_metrics;  // those of the device, from metrics->AddDevice
    MemoryBoard* board;
    BatchLedger* ledger;
    const ReleasePolicy* policy;
    const BucketLadder* ladder;
    bool padded = false;  // the device runs whole rungs
  };

  explicit BatchRunner(Deps deps) : deps_(deps) {}

  BatchReport Run(Batch batch);

  LeakWatch& leak_watch() { return leak_watch_; }

 private:
  // Positions in the batch, in order.
  using Part = std::vector<size_t>;
  // A part that is still to run, and what was done to make room for it.
  struct Pending {
    Part part;
    bool trimmed = false;
    bool graphs_dropped = false;
  };

  absl::Status RunPart(BatchReport& report, const Part& part, Attempt& attempt);
  // Answers those whose call is dead or whose deadline passed since the batch was formed, while other parts
  // ran or the weights came back, and leaves them out.
  Part StillWanted(BatchReport& report, Part part);
  void AnswerRows(BatchReport& report, const Part& part, const Attempt& attempt);
  void AnswerFailure(BatchReport& report, const Part& part, const Answer& failure);
  // Makes room and puts the part back: halved, or once more where it is one input; or answers that it does
  // not fit.
  void OnOutOfMemory(BatchReport& report, Pending failed, const Attempt& attempt, const absl::Status& status,
                     std::vector<Pending>* pending);
  // An attempt that ended in no other way: `why` is for the log.
  void OnFailure(BatchReport& report, const Part& part, const Attempt& attempt, absl::string_view why);
  // Gives the device a chance after an out-of-memory.
  void MakeRoom(bool drop_graphs);
  void Record(const BatchReport& report, const Part& part, const Attempt& attempt, std::string_view outcome);

  const Deps deps_;
  LeakWatch leak_watch_;
  bool leak_reported_ = false;
};

}  // namespace embedd
