// SPDX-License-Identifier: Apache-2.0
//
// SIGTERM and SIGINT as ordinary calls: every thread blocks them, and one thread waits for them. Used by main
// only.

#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace embedd {

// Blocks SIGTERM and SIGINT in the calling thread, and so in every thread that it starts later; ignores
// SIGPIPE (a peer that goes away is an error of write, not the end of the process). The first thing main
// does.
void BlockSignals();

// Waits for the signals that BlockSignals blocked, on a thread named signals.
class SignalWaiter {
 public:
  // The first signal calls `on_first` on that thread, with its number; the call must not block. The second
  // ends the process at once with exit code 130.
  explicit SignalWaiter(std::function<void(int signal)> on_first);
  // Ends the thread. Signals stay blocked.
  ~SignalWaiter();
  SignalWaiter(const SignalWaiter&) = delete;
  SignalWaiter& operator=(const SignalWaiter&) = delete;

 private:
  void Run();

  const std::function<void(int)> on_first_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;  // last: it uses the others
};

}  // namespace embedd
