// SPDX-License-Identifier: Apache-2.0

#include "server/support/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

#include "server/support/process.h"

namespace embedd {
namespace {

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

void BlockSignals() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
}

SignalWaiter::SignalWaiter(std::function<void(int)> on_first)
    : on_first_(std::move(on_first)), thread_([this] { Run(); }) {}

SignalWaiter::~SignalWaiter() {
  stopping_ = true;
  // Every thread blocks SIGTERM, so it ends nothing: sigwait in that thread returns, and sees stopping_.
  pthread_kill(thread_.native_handle(), SIGTERM);  // NOLINT(bugprone-bad-signal-to-kill-thread)
  thread_.join();
}

void SignalWaiter::Run() {
  SetThreadName("signals");
  const sigset_t set = StopSignals();
  for (int seen = 0;;) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (stopping_) return;
    if (++seen > 1) _exit(130);
    on_first_(signal);
  }
}

}  // namespace embedd
