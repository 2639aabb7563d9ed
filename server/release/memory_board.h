// SPDX-License-Identifier: Apache-2.0
//
// MemoryBoard: the published copy of the device's memory counters. The device thread writes after each batch;
// metrics, GetServerInfo, the status page and the scheduler read. Nobody else asks the device: on MPS that is
// not safe. Thread-safe.

#pragma once

#include <algorithm>
#include <cstdint>

#include "server/release/device_memory.h"
#include "server/support/mutex.h"

namespace embedd {

class MemoryBoard {
 public:
  struct View {
    MemoryReading now;         // as last published; `now.peak` is that of the last batch
    int64_t baseline = 0;      // allocated at rest: the model and nothing else
    int64_t highest_peak = 0;  // highest allocated since the process started
  };

  void Publish(const MemoryReading& reading) {
    MutexLock lock(&mu_);
    view_.now = reading;
    view_.highest_peak = std::max({view_.highest_peak, reading.peak, reading.allocated});
  }
  // What is allocated when nothing runs; read right after the weights came or went.
  void SetBaseline(int64_t bytes) {
    MutexLock lock(&mu_);
    view_.baseline = bytes;
  }
  View view() const {
    MutexLock lock(&mu_);
    return view_;
  }

 private:
  mutable Mutex mu_;
  View view_ ABSL_GUARDED_BY(mu_);
};

}  // namespace embedd
