// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/replicas.h"

#include <algorithm>
#include <tuple>

#include "client/cpp/src/retry.h"

namespace embedd::client::internal {
namespace {

constexpr absl::Duration kFirstHold = absl::Milliseconds(200);
constexpr absl::Duration kLongestHold = absl::Seconds(5);
// Of what is known of a replica's rate, the part that one more answer leaves.
constexpr double kMemory = 0.8;
// A replica that was asked nothing for so long may have changed.
constexpr absl::Duration kStale = absl::Seconds(10);
constexpr absl::Duration kHealthEvery = absl::Seconds(1);

// The smaller of two limits, where 0 means that it is not known.
template <typename T>
T Least(T a, T b) {
  return a == 0 ? b : b == 0 ? a : std::min(a, b);
}

}  // namespace

Replicas::Replicas(const std::vector<int>& servers) : count_(servers.size()), replicas_(servers.size()) {
  for (size_t i = 0; i < servers.size(); ++i) {
    replicas_[i].servers = servers[i];
    servers_ += servers[i];
  }
}

void Replicas::Learn(size_t replica, const ServerInfo::Limits& limits) {
  MutexLock lock(&mu_);
  replicas_[replica].limits = limits;
  replicas_[replica].known = true;
}

bool Replicas::Known(size_t replica) const {
  MutexLock lock(&mu_);
  return replicas_[replica].known;
}

std::optional<ServerInfo::Limits> Replicas::Shared() const {
  MutexLock lock(&mu_);
  std::optional<ServerInfo::Limits> shared;
  for (const Replica& replica : replicas_) {
    if (!replica.known) continue;
    const auto& l = replica.limits;
    if (!shared) {
      shared = l;
      continue;
    }
    shared->max_message_bytes = Least(shared->max_message_bytes, l.max_message_bytes);
    shared->max_inputs_per_request = Least(shared->max_inputs_per_request, l.max_inputs_per_request);
    shared->max_image_bytes = std::max(shared->max_image_bytes, l.max_image_bytes);
    shared->max_pixels = std::max(shared->max_pixels, l.max_pixels);
    shared->queue_images = Least(shared->queue_images, l.queue_images);
    shared->queue_bytes = Least(shared->queue_bytes, l.queue_bytes);
  }
  return shared;
}

std::optional<size_t> Replicas::Begin(const Load& load, absl::Time now) {
  MutexLock lock(&mu_);
  double usual = 0;  // of a replica whose rate is not known
  for (const Replica& one : replicas_) usual = std::max(usual, one.Rate(now).value_or(0));
  if (usual == 0) usual = 1;
  // Where many requests are under way: to whom runs dry first but for one request, so that a slow one has its
  // next at hand, too, and its batches are full.
  size_t free_ones = 0, under_way = 0;
  for (const Replica& one : replicas_) {
    if (!one.Takes(load) || !one.Free(now)) continue;
    ++free_ones;
    under_way += one.inputs;
  }
  const bool plenty = under_way >= 2 * free_ones * std::max<size_t>(1, load.inputs);
  // Free ones by when they would be through, then those on hold by when they end it.
  std::optional<size_t> best;
  std::tuple<bool, absl::Time, double, double, uint64_t> best_order;
  for (size_t i = 0; i < replicas_.size(); ++i) {
    const Replica& one = replicas_[i];
    if (!one.Takes(load)) continue;
    const bool free = one.Free(now);
    const double rate = one.Rate(now).value_or(usual);
    const double seconds = static_cast<double>(one.inputs + load.inputs) / rate;
    const double dry = static_cast<double>(one.inputs - std::min<size_t>(one.inputs, load.inputs)) / rate;
    const std::tuple order(!free, free ? absl::InfinitePast() : one.resume_at, plenty ? dry : seconds,
                           seconds, one.turn);
    if (!best || order < best_order) {
      best = i;
      best_order = order;
    }
  }
  if (best) {
    replicas_[*best].turn = ++turn_;
    replicas_[*best].Begin(load.inputs, now);
  }
  return best;
}

void Replicas::BeginAt(size_t replica, const Load& load, absl::Time now) {
  MutexLock lock(&mu_);
  replicas_[replica].Begin(load.inputs, now);
}

bool Replicas::Answered(size_t replica, const Load& load, absl::Time sent, absl::Time now) {
  MutexLock lock(&mu_);
  Replica& one = replicas_[replica];
  one.End(load.inputs, true, now);
  one.answered |= load.inputs > 0;
  // An answer to what was sent before the outage was noticed is no sign that it is over.
  if (sent < one.failed_at) return false;
  one.failures = 0;
  one.resume_at = absl::InfinitePast();
  return std::exchange(one.outage_told, false);
}

std::optional<absl::Duration> Replicas::Failed(size_t replica, const Load& load, const Failure& failure,
                                               absl::Time now, double chance) {
  MutexLock lock(&mu_);
  Replica& one = replicas_[replica];
  one.End(load.inputs, false, now);
  const bool late = absl::IsDeadlineExceeded(failure.status);
  if (!late && !MayRetry(failure)) return std::nullopt;
  if (OutOfReach(failure.status)) one.known = false;  // what comes back may be another server
  if (one.failures + 1 < one.servers) {
    ++one.failures;  // gRPC asks another address the next time
  } else {
    if (now >= one.resume_at) {  // else one of several requests that noticed the same
      const auto hold =
          std::min(kFirstHold * static_cast<double>(1 << std::min(one.failures, 8)), kLongestHold);
      one.resume_at = now + hold * (0.8 + 0.4 * chance);
      ++one.failures;
    }
    if (failure.pushback) one.resume_at = std::max(one.resume_at, now + *failure.pushback);
  }
  one.failed_at = now;
  return Elsewhere(replica, load, now);
}

void Replicas::Left(size_t replica, const Load& load, absl::Time now) {
  MutexLock lock(&mu_);
  replicas_[replica].End(load.inputs, false, now);
}

std::vector<size_t> Replicas::HealthDue(absl::Time now) {
  std::vector<size_t> due;
  if (count_ == 1) return due;
  MutexLock lock(&mu_);
  for (size_t i = 0; i < count_; ++i) {
    Replica& one = replicas_[i];
    if (!one.says_health || (one.inputs == 0 && one.serving) || one.health_next > now) continue;
    one.health_next = now + kHealthEvery;
    due.push_back(i);
  }
  return due;
}

void Replicas::HealthTold(size_t replica, bool serving) {
  MutexLock lock(&mu_);
  if (replicas_[replica].says_health) replicas_[replica].serving = serving;
}

void Replicas::NoHealth(size_t replica) {
  MutexLock lock(&mu_);
  replicas_[replica].says_health = false;
  replicas_[replica].serving = true;
}

bool Replicas::TellOutage(size_t replica) {
  MutexLock lock(&mu_);
  Replica& one = replicas_[replica];
  // Of a name with several servers one may be away.
  if (one.outage_told || one.failures < one.servers) return false;
  one.outage_told = true;
  return true;
}

bool Replicas::AnsweredBefore(size_t replica) const {
  MutexLock lock(&mu_);
  return replicas_[replica].answered;
}

std::optional<absl::Duration> Replicas::Elsewhere(size_t failed, const Load& load, absl::Time now) const {
  if (replicas_[failed].failures < replicas_[failed].servers) return absl::ZeroDuration();
  std::optional<absl::Duration> soonest;
  for (size_t i = 0; i < replicas_.size(); ++i) {
    if (i == failed || !replicas_[i].Takes(load)) continue;
    const auto wait = std::max(replicas_[i].resume_at - now, absl::ZeroDuration());
    soonest = soonest ? std::min(*soonest, wait) : wait;
  }
  return soonest;
}

std::optional<double> Replicas::Replica::Rate(absl::Time now) const {
  const absl::Duration waited = now - since;
  if (done == 0 || (inputs == 0 && waited > kStale)) return std::nullopt;
  return done / std::max(1e-6, busy + (inputs > 0 ? absl::ToDoubleSeconds(waited) : 0.0));
}

bool Replicas::Replica::Takes(const Load& load) const {
  const auto within = [](uint64_t value, uint64_t limit) { return limit == 0 || value <= limit; };
  return !known ||
         (within(load.inputs, limits.max_inputs_per_request) &&
          within(load.bytes, limits.max_message_bytes) && within(load.largest_file, limits.max_image_bytes));
}

bool Replicas::Replica::Free(absl::Time now) const {
  // After an outage one request finds out whether it is over.
  return serving && resume_at <= now && (failures < servers || inputs == 0);
}

void Replicas::Replica::Begin(size_t count, absl::Time now) {
  if (inputs == 0) since = now;
  inputs += count;
}

void Replicas::Replica::End(size_t count, bool was_answered, absl::Time now) {
  inputs -= std::min(inputs, count);
  if (count == 0) return;
  if (was_answered) {
    busy = busy * kMemory + absl::ToDoubleSeconds(now - since);
    done = done * kMemory + static_cast<double>(count);
  }
  since = now;
}

}  // namespace embedd::client::internal
