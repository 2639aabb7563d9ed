// SPDX-License-Identifier: Apache-2.0

#include "server/device/watchdog.h"

#include <algorithm>
#include <utility>

#include "server/support/process.h"

namespace embedd {

absl::Duration Watchdog::AllowedTime(absl::Duration expected) {
  return std::max(absl::Seconds(30), 10 * expected);
}

Watchdog::Watchdog(std::vector<Watched> devices, absl::Duration interval)
    : devices_(std::move(devices)), interval_(interval), seen_(devices_.size()), thread_([this] { Run(); }) {}

Watchdog::~Watchdog() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  stop_.SignalAll();
  thread_.join();
}

void Watchdog::Look() {
  std::vector<const Watched*> hung;
  {
    MutexLock lock(&mu_);
    for (size_t i = 0; i < devices_.size(); ++i) {
      if (seen_[i].hangs || !HangsNow(devices_[i], seen_[i])) continue;
      seen_[i].hangs = true;
      hung.push_back(&devices_[i]);
    }
  }
  for (const Watched* device : hung) device->on_hang();
}

bool Watchdog::HangsNow(const Watched& device, Seen& seen) {
  const Work work = device.work();
  absl::Duration stalled_for = work.since;
  if (device.cpu_time != nullptr) {
    if (const absl::Duration now = device.cpu_time(); now != seen.cpu_time) {
      seen.cpu_time = now;
      seen.busy_when_it_rose = work.since;
    }
    stalled_for -= seen.busy_when_it_rose;
  }
  return work.since > absl::ZeroDuration() && Hangs(stalled_for, work.since, work.allowed);
}

void Watchdog::Run() {
  SetThreadName("watchdog");
  for (;;) {
    {
      MutexLock lock(&mu_);
      if (!stopping_) stop_.WaitFor(&mu_, interval_);
      if (stopping_) return;
    }
    Look();
  }
}

}  // namespace embedd
