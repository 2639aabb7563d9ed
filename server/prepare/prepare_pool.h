// SPDX-License-Identifier: Apache-2.0
//
// PreparePool: the threads `prepare-N` and the inputs that wait for them, in the order of LaneQueue by
// expected time: a small picture or a text does not wait behind files of twelve megapixels, other than the
// one that each thread has in its hands. The rpc stage adds inputs whose places are reserved, so the pool
// needs no bound of its own. It does not know how an input is prepared (Preparer). Thread-safe. Answers are
// given with no lock held.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "server/prepare/prepare_cost.h"
#include "server/queue/embed_task.h"
#include "server/queue/input_counts.h"
#include "server/queue/lane_queue.h"
#include "server/support/clock.h"
#include "server/support/mutex.h"

namespace embedd {

// An input on its way to be prepared.
struct PrepareItem {
  EmbedTask task;     // with its place, lane, flow and deadline
  std::string bytes;  // of a file, a text, or rows of RGB8
  // Of rows of RGB8; 0 for a file.
  int width = 0, height = 0;
  PrepareLoad load;
};

class PreparePool {
 public:
  struct Options {
    int threads = 1;
    LaneQueue<PrepareItem>::Options order;
    // A deadline nearer than this, and the time of what is being prepared, goes before taking turns.
    absl::Duration urgency = absl::Milliseconds(500);
    // While more waits than there are threads, times are reckoned this much longer against deadlines: see
    // BoundedQueue::Options.
    double crowded_caution = 1.25;
  };
  struct Deps {
    Clock* clock;
    const PrepareCost* cost;
    // Prepares the input and hands it on; on a thread of the pool. Must not throw.
    std::function<void(PrepareItem)> prepare;
    // Time that an input of each tower still needs once it is prepared: whoever cannot be in time is not
    // prepared. May be null.
    std::function<PerTower<absl::Duration>()> still_ahead;
  };
  // Must not throw. Destroyed when it has run or was dropped.
  using Chore = absl::AnyInvocable<void()>;

  PreparePool(const Options& options, Deps deps);
  // Stop().
  ~PreparePool();
  PreparePool(const PreparePool&) = delete;
  PreparePool& operator=(const PreparePool&) = delete;

  // Takes the input. After FailAll it is answered with the same failure at once.
  void Add(PrepareItem item);
  // Runs `chore` on one of the threads before the next input. For what takes no time and must not run on the
  // caller's thread. After Stop it is destroyed instead.
  void Soon(Chore chore);

  // Answers, now, the inputs of `flow` whose call is dead.
  void DropDead(uint64_t flow);
  // Answers every input that waits, and every later one, with `status`. Those in hand go on.
  void FailAll(const absl::Status& status, Reason reason);
  // FailAll with UNAVAILABLE, then returns when all threads are gone. Idempotent; not from a thread of the
  // pool.
  void Stop();

  // Inputs that wait for a thread or are in one's hands.
  InputCounts counts() const;
  // Time until inputs that need `more` on one thread, and all that goes before them in their lane, are
  // prepared; zero while nothing was measured.
  absl::Duration ExpectedTime(Lane lane, absl::Duration more) const;

 private:
  struct Hand {  // what a thread is at
    bool busy = false;
    Tower tower = Tower::kImage;
    Lane lane = Lane::kInteractive;
    double cost = 0;
  };

  void Work(int thread);
  // Takes the next input, or nothing; what cannot be in time or is dead goes to `late` and `dead`.
  bool TakeNext(const PerTower<absl::Duration>& still_ahead, PrepareItem* next,
                std::vector<PrepareItem>* dead, std::vector<PrepareItem>* late)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  const Deps deps_;

  mutable Mutex mu_;
  CondVar changed_;
  LaneQueue<PrepareItem> items_ ABSL_GUARDED_BY(mu_);  // cost: expected seconds
  std::deque<Chore> chores_ ABSL_GUARDED_BY(mu_);
  std::vector<Hand> hands_ ABSL_GUARDED_BY(mu_);
  absl::Status closed_ ABSL_GUARDED_BY(mu_);  // not OK after FailAll
  Reason closed_reason_ ABSL_GUARDED_BY(mu_) = Reason::kNone;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Mutex join_mu_;  // one joiner at a time
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(join_mu_);
};

}  // namespace embedd
