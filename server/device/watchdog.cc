// SPDX-License-Identifier: Apache-2.0

#include "server/device/watchdog.h"

#include <algorithm>
#include <utility>

#include "server/support/log.h"
#include "server/support/process.h"

namespace embedd {

absl::Duration Watchdog::AllowedTime(absl::Duration expected) {
  return std::max(absl::Seconds(30), 10 * expected);
}

Watchdog::Watchdog(StateBoard* board, Options options)
    : board_(board), options_(std::move(options)), thread_([this] { Run(); }) {}

Watchdog::~Watchdog() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  stop_.SignalAll();
  thread_.join();
}

void Watchdog::Look() {
  MutexLock lock(&look_mu_);
  const absl::Duration busy = options_.busy_for();
  const absl::Duration allowed = options_.allowed();
  const bool hangs = Hangs(StalledFor(busy), busy, allowed);
  if (hangs == hangs_) return;
  hangs_ = hangs;
  if (hangs) {
    LogError("the device does not answer; health is NOT_SERVING until it does",
             {{"busy", absl::FormatDuration(busy)}, {"allowed", absl::FormatDuration(allowed)}});
  } else {
    LogWarn("the device answers again");
  }
  board_->SetDeviceResponsive(!hangs);
}

absl::Duration Watchdog::StalledFor(absl::Duration busy) {
  if (options_.cpu_time == nullptr) return busy;
  if (const absl::Duration now = options_.cpu_time(); now != cpu_time_) {
    cpu_time_ = now;
    busy_when_it_rose_ = busy;
  }
  return busy - busy_when_it_rose_;
}

void Watchdog::Run() {
  SetThreadName("embed-watchdog");
  for (;;) {
    {
      MutexLock lock(&mu_);
      if (!stopping_) stop_.WaitFor(&mu_, options_.interval);
      if (stopping_) return;
    }
    Look();
  }
}

}  // namespace embedd
