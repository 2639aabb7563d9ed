// SPDX-License-Identifier: Apache-2.0

#include "server/support/mutex.h"

#include <algorithm>

namespace embedd {

void CondVar::Wait(Mutex* mu) {
  std::unique_lock<std::mutex> lock(mu->mu_, std::adopt_lock);
  cv_.wait(lock);
  lock.release();
}

void CondVar::WaitFor(Mutex* mu, absl::Duration timeout) {
  // An hour at most: an infinite duration overflows the clock of wait_for.
  timeout = std::clamp(timeout, absl::ZeroDuration(), absl::Hours(1));
  std::unique_lock<std::mutex> lock(mu->mu_, std::adopt_lock);
  cv_.wait_for(lock, absl::ToChronoNanoseconds(timeout));
  lock.release();
}

}  // namespace embedd
