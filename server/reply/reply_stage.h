// SPDX-License-Identifier: Apache-2.0
//
// ReplyStage: the thread that hands finished batches to their calls, so that the device thread goes on at
// once. Send is thread-safe and never blocks.

#pragma once

#include <deque>
#include <thread>

#include "server/queue/finished_batch.h"
#include "server/support/clock.h"
#include "server/support/mutex.h"
#include "server/telemetry/metrics.h"

namespace embedd {

class ReplyStage {
 public:
  ReplyStage(Clock* clock, Metrics* metrics);
  // Hands on what was sent, then ends the thread.
  ~ReplyStage();

  void Send(FinishedBatch batch);
  void Stop();

 private:
  void Loop();

  Clock* const clock_;
  Metrics* const metrics_;
  Mutex mu_;
  CondVar wake_;
  std::deque<FinishedBatch> batches_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace embedd
