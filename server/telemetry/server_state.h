// SPDX-License-Identifier: Apache-2.0
//
// ServerState: what the server is doing, as GetServerInfo, health and the metric model_state tell it, and
// StateBoard, the one place it is kept. Thread-safe.

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/support/mutex.h"

namespace embedd {

enum class ServerState { kLoading, kReady, kOffloaded, kDraining, kFailed };

// "LOADING", "READY", "OFFLOADED", "DRAINING" or "FAILED".
std::string_view StateName(ServerState state);

class StateBoard {
 public:
  using Listener = std::function<void(ServerState state, bool serving)>;

  ServerState state() const;
  // True when calls are answered: READY or OFFLOADED.
  bool serving() const;

  // Why serving() is false, in a few words; empty while it is true.
  std::string why() const;

  // Moves to `state`, unless that would undo DRAINING or FAILED. FAILED wins over everything. `why` is for
  // people; empty: the usual words of the state.
  void Set(ServerState state, std::string_view why = {});
  // From now on serving() is false, though calls are still answered: balancers get time to look elsewhere
  // before a drain.
  void StopAdvertising();

  // Calls `listener` now and after each change, one call at a time, from the changing thread.
  void Subscribe(Listener listener);

 private:
  bool ServingLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Notify() ABSL_EXCLUSIVE_LOCKS_REQUIRED(notify_mu_);

  Mutex notify_mu_;  // serialises listeners; taken before mu_
  mutable Mutex mu_;
  ServerState state_ ABSL_GUARDED_BY(mu_) = ServerState::kLoading;
  std::string why_state_ ABSL_GUARDED_BY(mu_);
  bool advertised_ ABSL_GUARDED_BY(mu_) = true;
  std::vector<Listener> listeners_ ABSL_GUARDED_BY(notify_mu_);
};

}  // namespace embedd
