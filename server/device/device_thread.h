// SPDX-License-Identifier: Apache-2.0
//
// DeviceThread: one device and the one thread that touches it. The thread loads the model, then waits on the
// queue; when the device is free and something waits it forms a batch at the last moment, runs it, and hands
// it to the reply stage. Between batches it moves the weights when an operator asks, and tidies up when idle.
// All of that runs inside one busy scope, so whoever looks at busy() sees whatever hangs.
//
// It owns the executor, the session, the memory record and the cap of its device. Several of them pull from
// one queue. Every public method is thread-safe and none waits for the device without a bound.

#pragma once

#include <pthread.h>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/batching/batch_former.h"
#include "server/device/device_session.h"
#include "server/release/memory_board.h"
#include "server/support/mutex.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/weights_move.h"

namespace embedd {

class DeviceThread {
 public:
  struct Options {
    int number = 0;             // the thread is called device-<number>
    std::string name = "cpu";   // of the device, in metrics, records and logs
    bool padded = false;        // it runs whole rungs of the ladder (mps, cuda)
    bool is_processor = false;  // batches run on the processor itself: see cpu_time
    CapController::Options cap;
    DeviceSession::Options session;
    ReleasePolicy::Options release;
    // Between two looks of an idle device at what there is to tidy up. A trim is a matter of seconds.
    absl::Duration idle_period = absl::Milliseconds(200);
  };
  struct Deps {
    BoundedQueue* queue;
    Metrics* metrics;
    BatchLedger* ledger;
    // Takes each finished batch; called on the device's thread, must not block.
    std::function<void(FinishedBatch)> reply;
    // Called once, on the device's thread, when a batch or a load showed that the device is lost for good.
    std::function<void()> on_lost;
    // The weights left the device, or came back. Called on the device's thread. May be null.
    std::function<void(bool on_device)> on_moved;
    // Called when something waits in the queue and this device has other work first. May be null.
    std::function<void()> wake_another;
    Clock* clock = Clock::Real();
  };

  DeviceThread(Options options, std::unique_ptr<Executor> executor, Deps deps);
  // Stops it. A thread that hangs on the device cannot be ended, and this must not go while it runs: if it
  // does not end within ten seconds, the process ends with exit code 5. Ask Stop first.
  ~DeviceThread();

  // Starts the thread, loads and warms the model there, and begins to pull. Blocks until it serves, or
  // failed, or GiveUp was called. A start that failed leaves nothing on the device. Call once.
  absl::Status Start();

  // Moves the weights onto the device, or away, after the batch that runs.
  void Move(bool onto_device, WeightsMoved done);

  // True when it waited for work and now looks into the queue. To be called after a push, until one says so.
  bool WakeIfWaiting();

  struct Busy {
    absl::Duration since;    // how long the piece of work that runs now has been running; zero: none does
    absl::Duration allowed;  // how long it may take before it hangs
    std::string_view doing;  // "a batch", "an offload", …
  };
  Busy busy() const;
  // Processor time that the thread has had; zero while nothing runs.
  absl::Duration cpu_time() const;
  // Batches run on the processor: as long as cpu_time rises, one that takes long is starved, not hung.
  bool is_processor() const { return options_.is_processor; }

  // Ends, with `status`, the calls of the batch that runs and the moves that are asked for or under way: the
  // device may never answer for them. Those in the queue are not touched.
  void FailInFlight(const absl::Status& status, Reason reason);
  // The device hangs: from now on it pulls nothing and moves nothing, whatever its thread comes back with.
  void GiveUp();
  // False before the start, and once it is lost.
  bool serving() const;

  struct Batching {
    std::vector<int> buckets;
    CapController::Cap cap;
  };
  // Of the first tower.
  Batching batching() const;
  const MemoryBoard& memory() const { return board_; }
  const std::string& name() const { return options_.name; }
  std::optional<Int8Accuracy> int8_accuracy() const;  // after Start

  // How long `inputs` take on this device alone, one full batch after the other, each by the measured times
  // of its tower. A tower that has run nothing yet takes no time.
  absl::Duration TimeOf(const PerTower<int>& inputs) const;
  // Of a full batch of `tower`.
  absl::Duration BatchTime(Tower tower) const;
  // Inputs of the first tower that it does in a second at its cap; 0 while not known.
  double Rate() const;
  // Inputs of the batch that runs.
  PerTower<int> in_flight() const;
  // Whether the measured times of `tower` may refuse work. A device that ran nothing of it for a while may
  // have got faster: what was measured in a bad moment must not refuse for ever the calls that would correct
  // it.
  bool TimesAreFresh(Tower tower) const;

  // Ends the thread after the piece of work that runs, and the executor on it; the rest of the queue stays.
  // False when it did not end within `limit`: then it hangs, and this object must not be destroyed.
  bool Stop(absl::Duration limit);

 private:
  enum class Next { kStop, kMove, kBatch, kIdle };
  struct Asked {
    bool onto_device;
    WeightsMoved done;  // null once told
  };
  class BusyScope;

  void Run();
  absl::Status Load();
  Next WaitForWork();
  void RunBatch();
  // For --log-level debug: what the queue gave, how many it dropped, what is left.
  void LogBatch(const std::vector<EmbedTask>& tasks, size_t dropped) const;
  void RunMove();
  void RunIdle();
  // True when the report is the first to say that the device is lost.
  bool Learn(const BatchReport& report);
  BatchRunner::Deps RunnerDeps();
  double RateOf(Tower tower) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool TimesAreFreshLocked(Tower tower) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  const Deps deps_;
  const ReleasePolicy policy_;
  const BucketLadder ladder_;
  DeviceMetrics* const metrics_;
  MemoryBoard board_;
  std::unique_ptr<Executor> executor_;  // its thread's only, and so is what follows
  DeviceSession session_;
  absl::Time idle_since_, idle_looked_at_;
  absl::Duration load_took_;  // of the last load of the weights

  // Set while the thread sleeps for want of work. Atomic, so that a push need not take the lock of a device
  // that works: it is set before the thread looks into the queue, and a push looks at it afterwards.
  std::atomic<bool> waiting_{false};
  mutable Mutex mu_;
  CondVar wake_;     // of the thread
  CondVar changed_;  // loaded_, given_up_, ended_
  PerTower<CapController> caps_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> loaded_ ABSL_GUARDED_BY(mu_);
  std::optional<Int8Accuracy> int8_accuracy_ ABSL_GUARDED_BY(mu_);
  PerTower<absl::Time> learned_at_ ABSL_GUARDED_BY(mu_) = {{absl::InfinitePast(), absl::InfinitePast()}};
  absl::Time busy_since_ ABSL_GUARDED_BY(mu_);
  absl::Duration busy_allowed_ ABSL_GUARDED_BY(mu_);
  std::string_view doing_ ABSL_GUARDED_BY(mu_);  // empty: nothing
  PerTower<int> in_flight_ ABSL_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<CallSink>> calls_in_flight_ ABSL_GUARDED_BY(mu_);  // of the batch that runs
  std::list<Asked> moves_ ABSL_GUARDED_BY(mu_);  // the first one may be under way
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool lost_ ABSL_GUARDED_BY(mu_) = false;      // by its own word
  bool given_up_ ABSL_GUARDED_BY(mu_) = false;  // by GiveUp
  bool ended_ ABSL_GUARDED_BY(mu_) = false;     // the thread touches nothing any more
  pthread_t self_ ABSL_GUARDED_BY(mu_) = {};
  std::thread thread_;  // last: it uses the others
};

}  // namespace embedd
