// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/prepare_pool.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/support/process.h"

namespace embedd {
namespace {

void AnswerCancelled(std::vector<PrepareItem>& items) {
  for (PrepareItem& item : items) item.task.Finish(Answer::Cancelled());
  items.clear();
}

void AnswerLate(std::vector<PrepareItem>& items) {
  for (PrepareItem& item : items) item.task.Finish(Answer::Expired("before the input was prepared"));
  items.clear();
}

}  // namespace

PreparePool::PreparePool(const Options& options, Deps deps)
    : options_(options), deps_(std::move(deps)), items_(options.order) {
  {
    MutexLock lock(&mu_);
    hands_.resize(static_cast<size_t>(options.threads));
  }
  MutexLock lock(&join_mu_);
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this, i] { Work(i); });
}

PreparePool::~PreparePool() { Stop(); }

void PreparePool::Add(PrepareItem item) {
  const double cost = absl::ToDoubleSeconds(deps_.cost->Of(item.load));
  std::optional<PrepareItem> refused;
  absl::Status closed;
  Reason reason = Reason::kNone;
  {
    MutexLock lock(&mu_);
    if (closed_.ok()) {
      const Lane lane = item.task.lane;
      const uint64_t flow = item.task.flow;
      const absl::Time deadline = item.task.deadline;
      const Tower tower = item.task.tower;
      items_.Add(lane, flow, deadline, cost, std::move(item), tower);
    } else {
      refused = std::move(item);
      closed = closed_;
      reason = closed_reason_;
    }
  }
  if (refused) return refused->task.Finish(Answer::Failure(Outcome::kFailed, closed, reason));
  changed_.Signal();
}

void PreparePool::Soon(Chore chore) {
  {
    MutexLock lock(&mu_);
    if (stopping_) return;  // `chore` is the caller's argument: it is destroyed after the lock is gone
    chores_.push_back(std::move(chore));
  }
  changed_.Signal();
}

void PreparePool::DropDead(uint64_t flow) {
  std::vector<PrepareItem> dead;
  {
    MutexLock lock(&mu_);
    items_.RemoveIf(
        flow, [](const PrepareItem& item) { return item.task.dead(); }, dead);
  }
  AnswerCancelled(dead);
}

void PreparePool::FailAll(const absl::Status& status, Reason reason) {
  std::vector<PrepareItem> failed;
  {
    MutexLock lock(&mu_);
    if (closed_.ok()) {
      closed_ = status;
      closed_reason_ = reason;
    }
    items_.RemoveAll(failed);
  }
  for (PrepareItem& item : failed) item.task.Finish(Answer::Failure(Outcome::kFailed, status, reason));
}

void PreparePool::Stop() {
  FailAll(absl::UnavailableError("the server stopped"), Reason::kDraining);
  std::deque<Chore> dropped;
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    dropped.swap(chores_);
  }
  changed_.SignalAll();
  dropped.clear();
  MutexLock lock(&join_mu_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

InputCounts PreparePool::counts() const {
  MutexLock lock(&mu_);
  InputCounts counts = items_.counts();
  for (const Hand& hand : hands_) {
    if (hand.busy) ++counts.At(hand.tower, hand.lane);
  }
  return counts;
}

absl::Duration PreparePool::ExpectedTime(Lane lane, absl::Duration more) const {
  if (!deps_.cost->measured()) return absl::ZeroDuration();
  MutexLock lock(&mu_);
  double interactive = items_.cost(Lane::kInteractive), bulk = items_.cost(Lane::kBulk);
  (lane == Lane::kBulk ? bulk : interactive) += absl::ToDoubleSeconds(more);
  double seconds = items_.LeavesUntilLastOf(lane, interactive, bulk);
  for (const Hand& hand : hands_) seconds += hand.busy ? hand.cost / 2 : 0;  // half done, on average
  return absl::Seconds(seconds / options_.threads);
}

bool PreparePool::TakeNext(const PerTower<absl::Duration>& still_ahead, PrepareItem* next,
                           std::vector<PrepareItem>* dead, std::vector<PrepareItem>* late) {
  const absl::Time now = deps_.clock->TimeNow();
  const LaneSizes waiting = items_.sizes();
  const bool crowded = waiting.interactive + waiting.bulk > options_.threads;
  const double caution = crowded ? options_.crowded_caution : 1;
  absl::Duration in_hand;
  const absl::Duration longest_ahead = std::max(still_ahead[Tower::kImage], still_ahead[Tower::kText]);
  for (const Hand& hand : hands_) in_hand = std::max(in_hand, absl::Seconds(hand.cost));
  bool found = false;
  using Verdict = LaneQueue<PrepareItem>::Verdict;
  items_.Take({.most = 1,
               .most_with_bulk = 1,
               .urgent_before = now + options_.urgency + 2 * (in_hand + longest_ahead)},
              [&](PrepareItem& item) {
                if (item.task.dead()) {
                  dead->push_back(std::move(item));
                  return Verdict::kDropped;
                }
                const absl::Duration needed = deps_.cost->Of(item.load) + still_ahead[item.task.tower];
                if (item.task.deadline <= now + caution * needed) {
                  late->push_back(std::move(item));
                  return Verdict::kDropped;
                }
                *next = std::move(item);
                found = true;
                return Verdict::kTaken;
              });
  return found;
}

void PreparePool::Work(int thread) {
  SetThreadName(absl::StrCat("prepare-", thread).c_str());
  std::vector<PrepareItem> dead, late;
  while (true) {
    {
      MutexLock lock(&mu_);
      hands_[static_cast<size_t>(thread)] = {};
      const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        const LaneSizes waiting = items_.sizes();
        return chores_.empty() && waiting.interactive + waiting.bulk == 0 && !stopping_;
      };
      while (idle()) changed_.Wait(&mu_);
    }
    // Outside the lock, and not before the wait: it may be long ago then.
    const PerTower<absl::Duration> still_ahead =
        deps_.still_ahead ? deps_.still_ahead() : PerTower<absl::Duration>();
    PrepareItem item;
    Chore chore;
    bool taken = false;
    {
      MutexLock lock(&mu_);
      if (!chores_.empty()) {
        chore = std::move(chores_.front());
        chores_.pop_front();
      } else if (stopping_) {
        return;
      } else {
        taken = TakeNext(still_ahead, &item, &dead, &late);
        const double cost = taken ? absl::ToDoubleSeconds(deps_.cost->Of(item.load)) : 0;
        hands_[static_cast<size_t>(thread)] = {
            .busy = taken, .tower = item.task.tower, .lane = item.task.lane, .cost = cost};
      }
    }
    AnswerCancelled(dead);
    AnswerLate(late);
    if (chore != nullptr) chore();
    if (taken) deps_.prepare(std::move(item));
  }
}

}  // namespace embedd
