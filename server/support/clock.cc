// SPDX-License-Identifier: Apache-2.0

#include "server/support/clock.h"

#include <chrono>

#include "server/support/wall_time.h"

namespace embedd {
namespace {

class RealClock final : public Clock {
 public:
  absl::Time TimeNow() const override {
    return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
};

}  // namespace

absl::Time WallTime() { return absl::FromChrono(std::chrono::system_clock::now()); }

Clock* Clock::Real() {
  static RealClock* const clock = new RealClock;  // never destroyed: threads may still ask at exit
  return clock;
}

}  // namespace embedd
