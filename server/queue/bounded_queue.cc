// SPDX-License-Identifier: Apache-2.0

#include "server/queue/bounded_queue.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace embedd {
namespace {

Answer Expired() {
  return Answer::Failure(Outcome::kExpired, absl::DeadlineExceededError("the deadline passed while queued"),
                         Reason::kDeadline);
}

Answer Cancelled() {
  return Answer::Failure(Outcome::kCancelled, absl::CancelledError("the caller went away"),
                         Reason::kCancelled);
}

}  // namespace

// What one Pop has chosen so far, and the tasks it has to answer once the lock is released.
struct BoundedQueue::Picker {
  const Want& want;
  const absl::Time now;
  double caution = 1;
  std::vector<EmbedTask> batch;
  std::vector<EmbedTask> dead, expired;
  absl::Time tightest = absl::InfiniteFuture();

  absl::Duration BatchTime(int n) const {
    return want.batch_time == nullptr ? absl::ZeroDuration() : caution * want.batch_time(n);
  }

  // Takes the task, drops it, or refuses it because the batch would become too slow for a deadline in it.
  bool Offer(EmbedTask& task) {
    if (task.dead()) {
      dead.push_back(std::move(task));
      return true;
    }
    if (task.deadline <= now + BatchTime(1)) {
      expired.push_back(std::move(task));
      return true;
    }
    const absl::Time tightest_with = std::min(tightest, task.deadline);
    if (!batch.empty() && now + BatchTime(static_cast<int>(batch.size()) + 1) > tightest_with) return false;
    tightest = tightest_with;
    batch.push_back(std::move(task));
    return true;
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
      LaneState& in = lane(task.lane);
      auto [it, joined] = in.flows.try_emplace(task.flow);
      Flow& flow = it->second;
      if (joined) flow.turns = in.clock;
      // Deadlines of a connection mostly rise, so the place is near the end.
      auto at = flow.tasks.end();
      while (at != flow.tasks.begin() && std::prev(at)->deadline > task.deadline) --at;
      flow.tasks.insert(at, std::move(task));
      ++in.size;
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

std::vector<EmbedTask> BoundedQueue::Pop(const Want& want) {
  Picker picker{.want = want, .now = clock_->TimeNow()};
  {
    MutexLock lock(&mu_);
    LaneState& interactive = lane(Lane::kInteractive);
    LaneState& bulk = lane(Lane::kBulk);
    if (interactive.size + bulk.size > want.max_images) picker.caution = options_.crowded_caution;
    const bool both = bulk.size > 0 && interactive.size > 0;
    if (!both) bulk_credit_ = 0;  // nobody is kept waiting
    int owed = 0;
    if (both) {
      const int planned = std::min(want.max_images, interactive.size + bulk.size);
      owed = std::min(
          {static_cast<int>(bulk_credit_ + options_.bulk_floor * planned), bulk.size, want.max_with_bulk});
    }
    PopLane(interactive, owed > 0 ? want.max_with_bulk - owed : want.max_images, picker);
    const size_t before = picker.batch.size();
    PopLane(bulk, want.max_with_bulk, picker);
    if (both) {  // by the images that really go: a batch with bulk in it may be much smaller than planned
      const double bulk_images = static_cast<double>(picker.batch.size() - before);
      bulk_credit_ += options_.bulk_floor * static_cast<double>(picker.batch.size()) - bulk_images;
      bulk_credit_ = std::clamp(bulk_credit_, 0.0, static_cast<double>(want.max_images));
    }
  }
  for (EmbedTask& task : picker.dead) task.Finish(Cancelled());
  for (EmbedTask& task : picker.expired) task.Finish(Expired());
  return std::move(picker.batch);
}

void BoundedQueue::PopLane(LaneState& lane, int max, Picker& picker) {
  if (lane.size == 0 || static_cast<int>(picker.batch.size()) >= max) return;
  // Urgent flows by deadline, then the others by turns. Sorted once per batch; a flow that stays goes to the
  // back.
  const absl::Time urgent_before = picker.now + options_.urgency + 2 * picker.BatchTime(max);
  auto later = [&](const std::map<uint64_t, Flow>::iterator& a, const std::map<uint64_t, Flow>::iterator& b) {
    const absl::Time da = std::min(a->second.tasks.front().deadline, urgent_before);
    const absl::Time db = std::min(b->second.tasks.front().deadline, urgent_before);
    if (da != db) return da > db;
    return std::pair(a->second.turns, a->first) > std::pair(b->second.turns, b->first);
  };
  std::vector<std::map<uint64_t, Flow>::iterator> heap;
  heap.reserve(lane.flows.size());
  for (auto it = lane.flows.begin(); it != lane.flows.end(); ++it) heap.push_back(it);
  std::make_heap(heap.begin(), heap.end(), later);

  while (!heap.empty() && static_cast<int>(picker.batch.size()) < max) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto it = heap.back();
    Flow& flow = it->second;
    const size_t taken_before = picker.batch.size();
    if (!picker.Offer(flow.tasks.front())) {  // it waits for the next batch
      heap.pop_back();
      continue;
    }
    flow.tasks.pop_front();
    --lane.size;
    if (picker.batch.size() > taken_before) lane.clock = std::max(lane.clock, ++flow.turns);
    if (flow.tasks.empty()) {
      heap.pop_back();
      lane.flows.erase(it);
    } else {
      std::push_heap(heap.begin(), heap.end(), later);
    }
  }
}

void BoundedQueue::DropDead(uint64_t flow_id) {
  std::vector<EmbedTask> dead;
  {
    MutexLock lock(&mu_);
    for (LaneState& in : lanes_) {
      auto it = in.flows.find(flow_id);
      if (it == in.flows.end()) continue;
      std::deque<EmbedTask> kept;
      for (EmbedTask& task : it->second.tasks)
        (task.dead() ? (dead.push_back(std::move(task))) : kept.push_back(std::move(task)));
      in.size -= static_cast<int>(it->second.tasks.size() - kept.size());
      if (kept.empty()) {
        in.flows.erase(it);
      } else {
        it->second.tasks = std::move(kept);
      }
    }
  }
  for (EmbedTask& task : dead) task.Finish(Cancelled());
}

void BoundedQueue::FailAll(absl::Status status, Reason reason) {
  std::vector<EmbedTask> failed;
  {
    MutexLock lock(&mu_);
    closed_ = status;
    closed_reason_ = reason;
    for (LaneState& in : lanes_) {
      for (auto& [id, flow] : in.flows)
        std::move(flow.tasks.begin(), flow.tasks.end(), std::back_inserter(failed));
      in.flows.clear();
      in.size = 0;
    }
  }
  for (EmbedTask& task : failed) task.Finish(Answer::Failure(Outcome::kFailed, status, reason));
}

BoundedQueue::Sizes BoundedQueue::sizes() const {
  MutexLock lock(&mu_);
  return {.interactive = lanes_[0].size, .bulk = lanes_[1].size};
}

}  // namespace embedd
