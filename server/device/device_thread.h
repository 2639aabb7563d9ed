// SPDX-License-Identifier: Apache-2.0
//
// DeviceThread: the one thread that touches the device. It runs what it is given, one after the other, and
// between two pieces of work it may run an idle action. It owns nothing of the device itself. Post is
// thread-safe. The work must not block on another thread's use of this one.

#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>

#include "absl/time/time.h"
#include "server/support/clock.h"
#include "server/support/mutex.h"
#include "server/support/process.h"

namespace embedd {

class DeviceThread {
 public:
  explicit DeviceThread(Clock* clock);
  // Runs what was posted, then ends the thread.
  ~DeviceThread();

  // False after Stop: then `work` is destroyed here and never runs.
  bool Post(std::function<void()> work);
  // Posts and waits until it ran; false after Stop. Not from the device thread itself.
  bool Run(const std::function<void()>& work);

  // `action` runs on the device thread about every `period` while there is nothing to do; it gets the time
  // since the last work ended. May be null. Work posted after this call runs after the old action's last run.
  void SetIdleAction(absl::Duration period, std::function<void(absl::Duration idle)> action);

  // How long the piece of work that runs now has been running; zero when nothing runs. For the watchdog.
  absl::Duration busy_for() const;
  // Pieces of work that wait for the one that runs.
  size_t waiting() const;
  // Processor time that the thread has had. Not after Stop.
  absl::Duration cpu_time() { return ThreadCpuTime(thread_.native_handle()); }

  // Runs what was posted before and ends the thread. Idempotent.
  void Stop();

 private:
  void Loop();

  Clock* const clock_;
  mutable Mutex mu_;
  CondVar wake_;
  std::deque<std::function<void()>> work_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time since_ ABSL_GUARDED_BY(mu_);  // when it became busy, or idle
  absl::Duration idle_period_ ABSL_GUARDED_BY(mu_) = absl::InfiniteDuration();
  std::function<void(absl::Duration)> idle_action_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace embedd
