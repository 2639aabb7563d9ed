// SPDX-License-Identifier: Apache-2.0
//
// Clock: the only way the server reads time. Method names follow absl::Clock (Abseil from 20260526 on).
// The real one is monotonic: its epoch means nothing, only differences do. On some virtual machines time
// stands still for milliseconds, so a difference may be zero; nothing may divide by one unchecked.
// Thread-safe.

#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace embedd {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time TimeNow() const = 0;

  // The monotonic clock of the machine; lives as long as the process.
  static Clock* Real();
};

// Stands still until it is told to move.
class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(absl::Time start = absl::UnixEpoch() + absl::Hours(1))
      : nanos_(absl::ToUnixNanos(start)) {}
  absl::Time TimeNow() const override { return absl::FromUnixNanos(nanos_.load()); }
  void AdvanceTime(absl::Duration d) { nanos_.fetch_add(absl::ToInt64Nanoseconds(d)); }

 private:
  std::atomic<int64_t> nanos_;
};

}  // namespace embedd
