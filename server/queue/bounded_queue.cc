// SPDX-License-Identifier: Apache-2.0

#include "server/queue/bounded_queue.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace embedd {
namespace {

// However far the towers are apart, cheap inputs do not get more than so many turns for a dear one.
constexpr double kMostCost = 100;
constexpr double kRounding = 1e-6;  // of an input, which is none

}  // namespace

// What one Pop has chosen so far, and the tasks it has to answer once the lock is released.
struct BoundedQueue::Picker {
  using Verdict = LaneQueue<EmbedTask>::Verdict;

  const Wants& wants;
  const absl::Time now;
  double caution = 1;
  std::optional<Tower> tower;  // of the batch, from its first task on
  bool with_bulk = false;
  std::vector<EmbedTask> batch;
  FinishedBatch dropped;
  absl::Time tightest = absl::InfiniteFuture();

  const Want& want(Tower of) const { return wants[of]; }
  absl::Duration BatchTime(Tower of, int n) const {
    return want(of).batch_time == nullptr ? absl::ZeroDuration() : caution * want(of).batch_time(n);
  }

  Verdict Drop(EmbedTask& task, Answer answer) {
    dropped.tasks.push_back(std::move(task));
    dropped.answers.push_back(std::move(answer));
    return Verdict::kDropped;
  }

  // Takes the task, drops it, or lets it wait because the batch would become too slow for a deadline in it.
  Verdict Offer(EmbedTask& task) {
    if (task.dead()) return Drop(task, Answer::Cancelled());
    if (task.deadline <= now + BatchTime(task.tower, 1)) return Drop(task, Answer::Expired("while queued"));
    const absl::Time tightest_with = std::min(tightest, task.deadline);
    const int images = static_cast<int>(batch.size()) + 1;
    const bool bulk = with_bulk || task.lane == Lane::kBulk;
    const Want& limits = want(task.tower);
    if (tower && (task.tower != *tower || images > (bulk ? limits.max_with_bulk : limits.max_images) ||
                  now + BatchTime(*tower, images) > tightest_with)) {
      return Verdict::kWaits;
    }
    tower = task.tower;
    with_bulk = bulk;
    tightest = tightest_with;
    batch.push_back(std::move(task));
    return Verdict::kTaken;
  }
};

void BoundedQueue::Push(EmbedTask task) {
  std::optional<EmbedTask> refused;
  absl::Status closed;
  Reason reason = Reason::kNone;
  {
    MutexLock lock(&mu_);
    if (closed_.ok()) {
      task.queued_at = clock_->TimeNow();
      const Lane lane = task.lane;
      const uint64_t flow = task.flow;
      const absl::Time deadline = task.deadline;
      const Tower tower = task.tower;
      tasks_.Add(lane, flow, deadline, cost_[tower], std::move(task), tower);
    } else {
      refused = std::move(task);
      closed = closed_;
      reason = closed_reason_;
    }
  }
  if (refused) {
    refused->Finish(Answer::Failure(Outcome::kFailed, closed, reason));
    return;
  }
  if (on_push_) on_push_();
}

std::vector<EmbedTask> BoundedQueue::Pop(const Wants& wants, FinishedBatch* dropped) {
  Picker picker{.wants = wants, .now = clock_->TimeNow()};
  Want most;  // of any tower: what the order gives at most; Picker keeps to what the batch's own takes
  absl::Duration longest;
  for (const Tower tower : kAllTowers) {
    const Want& want = picker.want(tower);
    most.max_images = std::max(most.max_images, want.max_images);
    most.max_with_bulk = std::max(most.max_with_bulk, want.max_with_bulk);
    longest = std::max(longest, picker.BatchTime(tower, want.max_images));
  }
  {
    MutexLock lock(&mu_);
    const Sizes waiting = tasks_.sizes();
    const EmbedTask* const bulk = tasks_.Next(Lane::kBulk);
    const EmbedTask* const single = tasks_.Next(Lane::kInteractive);
    if (const EmbedTask* const next = single != nullptr ? single : bulk;
        next != nullptr && waiting.interactive + waiting.bulk > picker.want(next->tower).max_images) {
      picker.caution = options_.crowded_caution;
    }
    tasks_.Take({.most = most.max_images,
                 .most_with_bulk = most.max_with_bulk,
                 .batch_with_bulk = bulk != nullptr ? picker.want(bulk->tower).max_with_bulk : 0,
                 .urgent_before = picker.now + options_.urgency + 2 * picker.caution * longest},
                [&picker](EmbedTask& task) { return picker.Offer(task); });
  }
  if (dropped != nullptr) {
    *dropped = std::move(picker.dropped);
  } else {
    DeliverAnswers(std::move(picker.dropped));
  }
  return std::move(picker.batch);
}

void BoundedQueue::DropDead(uint64_t flow) {
  std::vector<EmbedTask> dead;
  {
    MutexLock lock(&mu_);
    tasks_.RemoveIf(
        flow, [](const EmbedTask& task) { return task.dead(); }, dead);
  }
  for (EmbedTask& task : dead) task.Finish(Answer::Cancelled());
}

void BoundedQueue::FailAll(absl::Status status, Reason reason) {
  std::vector<EmbedTask> failed;
  {
    MutexLock lock(&mu_);
    closed_ = status;
    closed_reason_ = reason;
    tasks_.RemoveAll(failed);
  }
  for (EmbedTask& task : failed) task.Finish(Answer::Failure(Outcome::kFailed, status, reason));
}

BoundedQueue::Sizes BoundedQueue::sizes() const {
  MutexLock lock(&mu_);
  return tasks_.sizes();
}

InputCounts BoundedQueue::counts() const {
  MutexLock lock(&mu_);
  return tasks_.counts();
}

PerTower<int> BoundedQueue::LeaveUntilLastOf(Lane lane, InputCounts more) const {
  MutexLock lock(&mu_);
  more.Add(tasks_.counts());
  double interactive = 0, bulk = 0;  // by cost
  for (const Tower tower : kAllTowers) {
    interactive += cost_[tower] * more.by_tower[tower].interactive;
    bulk += cost_[tower] * more.by_tower[tower].bulk;
  }
  const double part = bulk > 0 ? (tasks_.LeavesUntilLastOf(lane, interactive, bulk) - interactive) / bulk : 0;
  PerTower<int> leaving;
  for (const Tower tower : kAllTowers) {
    const LaneSizes& its = more.by_tower[tower];
    leaving[tower] = its.interactive + static_cast<int>(std::ceil(part * its.bulk - kRounding));
  }
  return leaving;
}

void BoundedQueue::SetCost(Tower tower, double cost) {
  MutexLock lock(&mu_);
  cost_[tower] = std::clamp(cost, 1 / kMostCost, kMostCost);
}

}  // namespace embedd
