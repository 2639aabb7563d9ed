// SPDX-License-Identifier: Apache-2.0
//
// LiveCount: how many calls are not finished, and a wait until none is: a drain's view of the server.
// Thread-safe.

#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "server/support/clock.h"
#include "server/support/mutex.h"

namespace embedd {

class LiveCount {
 public:
  void Enter() {
    MutexLock lock(&mu_);
    ++live_;
    ++entered_;
  }
  void Leave() {
    MutexLock lock(&mu_);
    if (--live_ == 0) none_.SignalAll();
  }

  // True when none is live; false when `timeout` passed first.
  bool WaitUntilNone(absl::Duration timeout, const Clock& clock) {
    const absl::Time deadline = clock.TimeNow() + timeout;
    MutexLock lock(&mu_);
    while (live_ > 0) {
      const absl::Duration left = deadline - clock.TimeNow();
      if (left <= absl::ZeroDuration()) return false;
      none_.WaitFor(&mu_, left);
    }
    return true;
  }

  // Waits until nobody came for `quiet`, and at most `timeout`.
  void WaitUntilQuiet(absl::Duration quiet, absl::Duration timeout, const Clock& clock) {
    const absl::Time start = clock.TimeNow();
    MutexLock lock(&mu_);
    int64_t seen = entered_;
    absl::Time now = start, since = start;
    while (now - since < quiet && now - start < timeout) {
      none_.WaitFor(&mu_, quiet - (now - since));
      now = clock.TimeNow();
      if (live_ > 0 || entered_ != seen) since = now;
      seen = entered_;
    }
  }

  int64_t live() const {
    MutexLock lock(&mu_);
    return live_;
  }
  // Since the process started.
  int64_t entered() const {
    MutexLock lock(&mu_);
    return entered_;
  }

 private:
  mutable Mutex mu_;
  CondVar none_;
  int64_t live_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t entered_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace embedd
