// SPDX-License-Identifier: Apache-2.0
//
// BoundedQueue: prepared images waiting for the device. It is bounded because every task carries a place of a
// PlaceBudget; pushing therefore never fails and never blocks.
//
// ORDER. That of LaneQueue: lanes, turns between connections, near deadlines first. What is shared is the
// device's time: inputs of one tower cost the same, those of the other what they take beside them (SetCost).
//
// DROPPING. Tasks whose call is dead or whose deadline has passed never reach a batch; Pop gives them back
// with their answers when it next looks at them, DropDead answers them at once.
//
// Thread-safe. Answers are given with no lock held.

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "server/queue/embed_task.h"
#include "server/queue/finished_batch.h"
#include "server/queue/input_counts.h"
#include "server/queue/lane_queue.h"
#include "server/support/clock.h"
#include "server/support/mutex.h"

namespace embedd {

class BoundedQueue {
 public:
  struct Options {
    LaneQueue<EmbedTask>::Options order;
    // A deadline nearer than this and the time of two batches is served before taking turns: the batch that
    // runs when it comes near, and its own.
    absl::Duration urgency = absl::Milliseconds(500);
    // While more waits than one batch takes, batches are reckoned this much longer against deadlines. A queue
    // served in the order of its deadlines under overload works at their very edge, where a batch that takes
    // a little longer than expected is computed for nobody; others can use that time.
    double crowded_caution = 1.25;
  };

  BoundedQueue(const Options& options, Clock* clock)
      : options_(options), clock_(clock), tasks_(options.order) {}
  ~BoundedQueue() { FailAll(absl::UnavailableError("the server stopped"), Reason::kDraining); }

  // Called (no lock held) after each push. Set once, before the first push.
  void SetPushListener(std::function<void()> listener) { on_push_ = std::move(listener); }

  // Takes the task. After FailAll it is answered with the same failure at once.
  void Push(EmbedTask task);

  // What an input of `tower` costs from now on, where one of the first tower costs 1; 1 until told.
  void SetCost(Tower tower, double cost);

  // How a batch of one tower is chosen.
  struct Want {
    int max_images = 1;
    int max_with_bulk = 1;  // as soon as bulk images are in the batch: at most max_images
    // Time a batch of n images takes on the device; zero when not known. May be null.
    std::function<absl::Duration(int n)> batch_time;
  };
  using Wants = PerTower<Want>;
  // Removes a batch: the task that goes next, and up to `max_images` in all of those that go next after it
  // and are for the same tower, best first. A batch is kept short enough for its tightest deadline; a task
  // that could not meet its deadline even alone is dropped: DEADLINE_EXCEEDED. While others
  // wait for the device, both are judged with caution (Options).
  //
  // What is dropped goes to `dropped`, with its answers: thousands may expire at once, and telling their
  // calls takes longer than a batch. Without `dropped` they are answered before Pop returns.
  std::vector<EmbedTask> Pop(const Wants& wants, FinishedBatch* dropped = nullptr);
  // The same, with one want for every tower.
  std::vector<EmbedTask> Pop(const Want& want) { return Pop(Wants{{want, want}}); }

  // Answers, now, the tasks of `flow` whose call is dead.
  void DropDead(uint64_t flow);

  // Answers every task, and every later one, with `status`.
  void FailAll(absl::Status status, Reason reason);

  // Images waiting, by lane.
  using Sizes = LaneSizes;
  Sizes sizes() const;
  int size() const {
    const Sizes now = sizes();
    return now.interactive + now.bulk;
  }
  InputCounts counts() const;
  // Of all inputs that wait, and `more`, how many leave until the last of `lane` does. Of bulk that goes
  // before an interactive one each tower is taken to have its share.
  PerTower<int> LeaveUntilLastOf(Lane lane, InputCounts more) const;

 private:
  struct Picker;

  const Options options_;
  Clock* const clock_;
  std::function<void()> on_push_;

  mutable Mutex mu_;
  LaneQueue<EmbedTask> tasks_ ABSL_GUARDED_BY(mu_);
  PerTower<double> cost_ ABSL_GUARDED_BY(mu_) = {{1, 1}};
  absl::Status closed_ ABSL_GUARDED_BY(mu_);  // not OK after FailAll
  Reason closed_reason_ ABSL_GUARDED_BY(mu_) = Reason::kNone;
};

}  // namespace embedd
