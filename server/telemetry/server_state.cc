// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/server_state.h"

#include <utility>

namespace embedd {
namespace {

std::string_view UsualWords(ServerState state) {
  switch (state) {
    case ServerState::kLoading:
      return "the model is loading";
    case ServerState::kDraining:
      return "the server is shutting down";
    case ServerState::kFailed:
      return "the device was lost; the process ends";
    case ServerState::kReady:
    case ServerState::kOffloaded:
      break;
  }
  return "";
}

}  // namespace

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
  return advertised_ && (state_ == ServerState::kReady || state_ == ServerState::kOffloaded);
}

std::string StateBoard::why() const {
  MutexLock lock(&mu_);
  if (ServingLocked()) return "";
  const bool ready = state_ == ServerState::kReady || state_ == ServerState::kOffloaded;
  if (!ready) return why_state_.empty() ? std::string(UsualWords(state_)) : why_state_;
  return "the server is about to shut down; calls are still answered";
}

void StateBoard::Set(ServerState state, std::string_view why) {
  MutexLock notify(&notify_mu_);
  {
    MutexLock lock(&mu_);
    if (state_ == ServerState::kFailed) return;
    if (state_ == ServerState::kDraining && state != ServerState::kFailed) return;
    state_ = state;
    why_state_ = std::string(why);
  }
  Notify();
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
