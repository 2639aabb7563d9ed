// SPDX-License-Identifier: Apache-2.0
//
// BatchScheduler: between the queue and the device. Asks the device thread to run a batch, one ahead of the
// one that runs, and forms it (BatchFormer) when its turn has come. Feeds what it took back into the
// CapController and passes it to the reply stage. It owns the cap. Thread-safe.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/batching/batch_former.h"
#include "server/device/device_session.h"
#include "server/device/device_thread.h"
#include "server/release/memory_board.h"
#include "server/support/mutex.h"
#include "server/telemetry/metrics.h"

namespace embedd {

class BatchScheduler {
 public:
  struct Deps {
    BoundedQueue* queue;
    DeviceThread* device;
    DeviceSession* session;
    MemoryBoard* board;
    Metrics* metrics;
    // Takes each finished batch; called on the device thread, must not block.
    std::function<void(FinishedBatch)> reply;
    // Called once, on the device thread, when the device is lost for good.
    std::function<void()> on_device_lost;
    Clock* clock = Clock::Real();
  };

  BatchScheduler(CapController::Options options, Deps deps);
  // Waits for the batches on the device. Nobody may push to the queue any more.
  ~BatchScheduler();

  // Loads and warms the model on the device thread, then starts forming batches. Blocks until it serves.
  absl::Status Start();
  // Asks for no more batches; those asked for still run. Work posted to the device thread after this call is
  // the last to touch the device: no idle action comes later. Idempotent.
  void Stop();

  // Ends the calls of the batch that runs: the device hangs. Those still in the queue are not touched.
  void FailInFlight(const absl::Status& status, Reason reason);

  struct Batching {
    std::vector<int> buckets;
    CapController::Cap cap;
  };
  Batching batching() const;

  // How long `images` more images would take from now to their answer, by the backlog and the measured times.
  // Zero while nothing is known.
  absl::Duration ExpectedTime(int images) const;
  // Expected time of the batch on the device, for the watchdog.
  absl::Duration ExpectedBatchTime() const;

 private:
  // Asks the device thread for batches.
  void Loop();
  // On the device thread: forms the batch at the last moment, so that an image that has just come may still
  // ride in it, and none waits behind a batch that was formed before it came.
  void RunNextBatch();
  // A batch is done, or came to nothing.
  void Land(int images);
  void Learn(const BatchReport& report);
  // Whether the measured times may refuse work. An idle device that ran nothing for a while may have got
  // faster: what was measured in a bad moment must not refuse for ever the calls that would correct it.
  bool TimesAreFresh() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const CapController::Options options_;
  const Deps deps_;
  mutable Mutex mu_;
  CondVar wake_;    // of the scheduler's thread
  CondVar landed_;  // in_flight_ is zero
  CapController cap_ ABSL_GUARDED_BY(mu_);
  absl::Time learned_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  int in_flight_ ABSL_GUARDED_BY(mu_) = 0;  // batches, running and asked for
  int images_in_flight_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::shared_ptr<CallSink>> calls_in_flight_ ABSL_GUARDED_BY(mu_);  // of the batch that runs
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool lost_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace embedd
