// SPDX-License-Identifier: Apache-2.0
//
// ReleasePolicy: when cached device memory goes back to the system (--release). The tensors of a batch are
// always dropped at its end; this decides about the allocator's cache only. Pure; used by the device thread.

#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "server/release/device_memory.h"
#include "server/release/release_kind.h"

namespace embedd {

class ReleasePolicy {
 public:
  struct Options {
    ReleaseKind kind = ReleaseKind::kWatermark;
    // kWatermark trims when reserved memory is above this share of the limit and at least half of it is cache
    // ...
    double watermark = 0.7;
    // ... or when the cache alone is larger than this.
    int64_t max_cache = int64_t{4} << 30;
    // kIdle, and kWatermark too, trim after this long without work.
    absl::Duration idle_after = absl::Seconds(5);
  };

  explicit ReleasePolicy(Options options) : options_(options) {}

  bool TrimAfterBatch(const MemoryReading& reading) const;
  // `idle`: time since the last batch ended.
  bool TrimWhenIdle(const MemoryReading& reading, absl::Duration idle) const;

 private:
  const Options options_;
};

}  // namespace embedd
