// SPDX-License-Identifier: Apache-2.0
//
// Watchdog: notices a device that hangs, whatever it was doing, and tells its owner, once. It touches no
// device and ends nothing itself. Made by DeviceGroup.

#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "server/support/mutex.h"

namespace embedd {

class Watchdog {
 public:
  // What a device is at.
  struct Work {
    absl::Duration since;    // how long it has been at this piece of work; zero: at none
    absl::Duration allowed;  // how long that may take: see AllowedTime
  };
  struct Watched {
    std::function<Work()> work;  // thread-safe
    // Processor time that the device's thread has had, where that is what its work runs on (cpu); may be
    // null. As long as the thread gets some, work that takes long is starved by other programs, not hung.
    std::function<absl::Duration()> cpu_time;
    // Called once, on the watchdog's thread, no lock held.
    std::function<void()> on_hang;
  };

  // Ten times what a piece of work is expected to take, and at least 30 s: a slow machine is not a hung one.
  static absl::Duration AllowedTime(absl::Duration expected);
  // `stalled_for`: the part of `busy_for` since the work last got processor time. Work that gets some and
  // still does not end goes in circles: after ten times the allowed time that is hung too.
  static bool Hangs(absl::Duration stalled_for, absl::Duration busy_for, absl::Duration allowed) {
    return stalled_for > allowed || busy_for > 10 * allowed;
  }

  // Starts the thread, which looks every `interval`: a small part of the least allowed time.
  explicit Watchdog(std::vector<Watched> devices, absl::Duration interval = absl::Seconds(1));
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // One look; the thread does it every interval. Tests call it instead of waiting.
  void Look() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Seen {
    bool hangs = false;
    absl::Duration cpu_time;  // when last looked at
    absl::Duration busy_when_it_rose;
  };
  void Run();
  bool HangsNow(const Watched& device, Seen& seen);

  const std::vector<Watched> devices_;
  const absl::Duration interval_;
  Mutex mu_;
  CondVar stop_;
  std::vector<Seen> seen_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace embedd
