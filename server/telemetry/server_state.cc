// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/server_state.h"

#include <utility>

namespace embedd {

std::string_view StateName(ServerState state) {
  switch (state) {
    case ServerState::kLoading:
      return "LOADING";
    case ServerState::kReady:
      return "READY";
    case ServerState::kOffloaded:
      return "OFFLOADED";
    case ServerState::kDraining:
      return "DRAINING";
    case ServerState::kFailed:
      return "FAILED";
  }
  return "UNKNOWN";
}

ServerState StateBoard::state() const {
  MutexLock lock(&mu_);
  return state_;
}

bool StateBoard::serving() const {
  MutexLock lock(&mu_);
  return ServingLocked();
}

bool StateBoard::ServingLocked() const {
  return responsive_ && advertised_ && (state_ == ServerState::kReady || state_ == ServerState::kOffloaded);
}

void StateBoard::Set(ServerState state) {
  MutexLock notify(&notify_mu_);
  {
    MutexLock lock(&mu_);
    if (state_ == ServerState::kFailed) return;
    if (state_ == ServerState::kDraining && state != ServerState::kFailed) return;
    state_ = state;
  }
  Notify();
}

void StateBoard::SetDeviceResponsive(bool responsive) {
  MutexLock notify(&notify_mu_);
  {
    MutexLock lock(&mu_);
    if (responsive_ == responsive) return;
    responsive_ = responsive;
  }
  Notify();
}

bool StateBoard::device_responsive() const {
  MutexLock lock(&mu_);
  return responsive_;
}

void StateBoard::StopAdvertising() {
  MutexLock notify(&notify_mu_);
  {
    MutexLock lock(&mu_);
    advertised_ = false;
  }
  Notify();
}

void StateBoard::Subscribe(Listener listener) {
  MutexLock notify(&notify_mu_);
  listeners_.push_back(std::move(listener));
  listeners_.back()(state(), serving());
}

void StateBoard::Notify() {
  const ServerState now = state();
  const bool ok = serving();
  for (const Listener& listener : listeners_) listener(now, ok);
}

}  // namespace embedd
