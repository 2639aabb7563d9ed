// SPDX-License-Identifier: Apache-2.0
//
// Which server gets the next request. Every request goes where it is expected to be answered first: each
// replica gets as much as it answers, a slow one less, one that refused or is away nothing until its time is
// over. Knows no gRPC; time and chance are passed in, so its tests never wait. Thread-safe. A name with
// several servers behind it is one replica here; gRPC spreads its calls.

#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "client/cpp/src/status.h"
#include "embedd/client.h"
#include "server/support/mutex.h"

namespace embedd::client::internal {

// What a request asks of a server.
struct Load {
  size_t inputs = 0;
  size_t bytes = 0;
  size_t largest_file = 0;
};

class Replicas {
 public:
  // `servers`: how many are behind each target.
  explicit Replicas(const std::vector<int>& servers);

  size_t size() const { return count_; }
  int servers() const { return servers_; }

  void Learn(size_t replica, const ServerInfo::Limits& limits);
  // Not asked yet, or come back after an outage: to be asked again.
  bool Known(size_t replica) const;
  // What a call is planned by: what every known replica takes, and the largest image that one of them takes.
  std::optional<ServerInfo::Limits> Shared() const;

  // The replica for a request that is sent now; nothing when none takes one of that size.
  std::optional<size_t> Begin(const Load& load, absl::Time now);
  // A request to this replica and no other.
  void BeginAt(size_t replica, const Load& load, absl::Time now);

  // How it ended. Answered: true when an outage that was told is over.
  bool Answered(size_t replica, const Load& load, absl::Time sent, absl::Time now);
  // Refused, or lost: how long until another server can be asked; nothing when there is none.
  std::optional<absl::Duration> Failed(size_t replica, const Load& load, const Failure& failure,
                                       absl::Time now, double chance);
  // Given up on this side.
  void Left(size_t replica, const Load& load, absl::Time now);

  // The replicas whose health is to be asked now: those in use and those that do not serve, once a second,
  // where there is another one to go to. A server that drains says so for some seconds before it refuses
  // anything.
  std::vector<size_t> HealthDue(absl::Time now);
  // What health said; who does not serve gets nothing while another one does.
  void HealthTold(size_t replica, bool serving);
  // It does not offer to say, or gRPC asks on its own: it is not asked again, and counts as serving.
  void NoHealth(size_t replica);

  // True once per outage: it is to be told.
  bool TellOutage(size_t replica);
  // Whether it answered a request with inputs before.
  bool AnsweredBefore(size_t replica) const;

 private:
  struct Replica {
    int servers = 1;
    bool known = false;
    ServerInfo::Limits limits;
    bool answered = false;
    bool serving = true;  // by its health
    bool says_health = true;
    absl::Time health_next = absl::InfinitePast();  // when to ask again
    size_t inputs = 0;                              // under way there
    int failures = 0;                               // in a row
    bool outage_told = false;
    absl::Time resume_at = absl::InfinitePast();
    absl::Time failed_at = absl::InfinitePast();
    uint64_t turn = 0;  // when it was picked last
    // Seconds with inputs under way and the inputs answered in them, both decaying; counted up to `since`.
    double busy = 0, done = 0;
    absl::Time since = absl::InfinitePast();

    // Inputs a second; nothing when not known. Falls while it owes an answer.
    std::optional<double> Rate(absl::Time now) const;
    bool Takes(const Load& load) const;
    bool Free(absl::Time now) const;
    void Begin(size_t count, absl::Time now);
    void End(size_t count, bool was_answered, absl::Time now);
  };

  std::optional<absl::Duration> Elsewhere(size_t failed, const Load& load, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const size_t count_;
  int servers_ = 0;
  mutable Mutex mu_;
  uint64_t turn_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Replica> replicas_ ABSL_GUARDED_BY(mu_);
};

}  // namespace embedd::client::internal
