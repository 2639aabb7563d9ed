// SPDX-License-Identifier: Apache-2.0
//
// Watchdog: notices a device batch that hangs, and tells the StateBoard, so that health turns to NOT_SERVING
// and a load balancer or supervisor can act. It touches no device and ends nothing: a batch that ends after
// all makes the server serve again. Made by main.

#pragma once

#include <functional>
#include <thread>

#include "absl/time/time.h"
#include "server/support/mutex.h"
#include "server/telemetry/server_state.h"

namespace embedd {

class Watchdog {
 public:
  struct Options {
    // How long the device has been busy with its current batch; zero while it is idle. Thread-safe.
    std::function<absl::Duration()> busy_for;
    // How long that batch may take: see AllowedTime. Thread-safe.
    std::function<absl::Duration()> allowed;
    // Processor time that the device's thread has had, where that is what a batch runs on (cpu); may be null.
    // As long as the thread gets some, a batch that takes long is starved by other programs, not hung.
    std::function<absl::Duration()> cpu_time;
    // Time between two looks: a small part of the least allowed time.
    absl::Duration interval = absl::Seconds(1);
  };

  // Ten times what the batch is expected to take, and at least 30 s: a slow machine is not a hung one.
  static absl::Duration AllowedTime(absl::Duration expected);
  // `stalled_for`: the part of `busy_for` since the batch last got processor time. A batch that gets some and
  // still does not end goes in circles: after ten times the allowed time that is hung too.
  static bool Hangs(absl::Duration stalled_for, absl::Duration busy_for, absl::Duration allowed) {
    return stalled_for > allowed || busy_for > 10 * allowed;
  }

  // Starts the thread embed-watchdog. `board` must outlive this.
  Watchdog(StateBoard* board, Options options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // One look; the thread does it every interval. Tests call it instead of waiting.
  void Look() ABSL_LOCKS_EXCLUDED(look_mu_);

 private:
  void Run();
  // The part of `busy` since the device's thread was last seen to have had processor time; all of it where
  // that is not known.
  absl::Duration StalledFor(absl::Duration busy) ABSL_EXCLUSIVE_LOCKS_REQUIRED(look_mu_);

  StateBoard* const board_;
  const Options options_;
  Mutex look_mu_;  // one look at a time; held while the board is told
  bool hangs_ ABSL_GUARDED_BY(look_mu_) = false;
  absl::Duration cpu_time_ ABSL_GUARDED_BY(look_mu_);  // when last looked at
  absl::Duration busy_when_it_rose_ ABSL_GUARDED_BY(look_mu_);
  Mutex mu_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace embedd
