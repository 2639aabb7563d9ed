// SPDX-License-Identifier: Apache-2.0
//
// BoundedQueue: prepared images waiting for the device. It is bounded because every task carries a place of a
// PlaceBudget; pushing therefore never fails and never blocks.
//
// ORDER. Two lanes: interactive goes before bulk, but while bulk waits it gets at least a tenth of the images
// of every batch, on average. Inside a lane, flows (connections) take turns, so a call of a thousand images
// does not hold up a neighbour's single one; a task whose deadline is near goes before that, earliest
// deadline first. Inside a flow the earliest deadline goes first, then the order of arrival.
//
// DROPPING. Tasks whose call is dead or whose deadline has passed never reach a batch; they are answered when
// the queue next looks at them, at once on DropDead.
//
// Thread-safe. Answers are given with no lock held.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "server/queue/embed_task.h"
#include "server/support/clock.h"
#include "server/support/mutex.h"

namespace embedd {

class BoundedQueue {
 public:
  struct Options {
    // Share of the images of the batches that bulk gets while it waits. 0 to 1.
    double bulk_floor = 0.1;
    // A deadline nearer than this and the time of two batches is served before taking turns: the batch that
    // runs when it comes near, and its own.
    absl::Duration urgency = absl::Milliseconds(500);
    // While more waits than one batch takes, batches are reckoned this much longer against deadlines. A queue
    // served in the order of its deadlines under overload works at their very edge, where a batch that takes
    // a little longer than expected is computed for nobody; others can use that time.
    double crowded_caution = 1.25;
  };

  BoundedQueue(Options options, Clock* clock) : options_(options), clock_(clock) {}
  ~BoundedQueue() { FailAll(absl::UnavailableError("the server stopped"), Reason::kDraining); }

  // Called (no lock held) after each push. Set once, before the first push.
  void SetPushListener(std::function<void()> listener) { on_push_ = std::move(listener); }

  // Takes the task. After FailAll it is answered with the same failure at once.
  void Push(EmbedTask task);

  // How a batch is chosen.
  struct Want {
    int max_images = 1;
    int max_with_bulk = 1;  // as soon as bulk images are in the batch: at most max_images
    // Time a batch of n images takes on the device; zero when not known. May be null.
    std::function<absl::Duration(int n)> batch_time;
  };
  // Removes up to `want.max_images` tasks, best first. A batch is kept short enough for its tightest
  // deadline; a task that could not meet its deadline even alone is answered DEADLINE_EXCEEDED and not
  // returned. While others wait for the device, both are judged with caution (Options).
  std::vector<EmbedTask> Pop(const Want& want);

  // Answers, now, the tasks of `flow` whose call is dead.
  void DropDead(uint64_t flow);

  // Answers every task, and every later one, with `status`.
  void FailAll(absl::Status status, Reason reason);

  // Images waiting, by lane.
  struct Sizes {
    int interactive = 0;
    int bulk = 0;
  };
  Sizes sizes() const;
  int size() const {
    const Sizes now = sizes();
    return now.interactive + now.bulk;
  }

 private:
  struct Flow {
    std::deque<EmbedTask> tasks;  // by deadline, then arrival; never empty
    uint64_t turns = 0;           // images served since it joined, plus the lane's clock then
  };
  struct LaneState {
    std::map<uint64_t, Flow> flows;
    uint64_t clock = 0;  // turns of the flow served last: where a new flow starts
    int size = 0;
  };
  struct Picker;

  LaneState& lane(Lane l) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return lanes_[static_cast<int>(l)]; }
  void PopLane(LaneState& lane, int max, Picker& picker) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  Clock* const clock_;
  std::function<void()> on_push_;

  mutable Mutex mu_;
  LaneState lanes_[2] ABSL_GUARDED_BY(mu_);
  double bulk_credit_ ABSL_GUARDED_BY(mu_) = 0;  // images that bulk is owed
  absl::Status closed_ ABSL_GUARDED_BY(mu_);     // not OK after FailAll
  Reason closed_reason_ ABSL_GUARDED_BY(mu_) = Reason::kNone;
};

}  // namespace embedd
