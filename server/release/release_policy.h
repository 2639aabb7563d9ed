// SPDX-License-Identifier: Apache-2.0
//
// ReleasePolicy: when cached device memory goes back to the system (--release). The tensors of a batch are
// always dropped at its end; this decides about the allocator's cache only. Pure; used by the device thread.

#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/release/device_memory.h"

namespace embedd {

class ReleasePolicy {
 public:
  enum class Kind {
    kNever,      // fastest; the process keeps its high-water mark
    kWatermark,  // when the cache is a large part of what the server may hold
    kIdle,       // after a pause without work
    kAlways,     // after every batch; slowest
  };
  struct Options {
    Kind kind = Kind::kWatermark;
    // kWatermark trims when reserved memory is above this share of the limit and at least half of it is cache
    // ...
    double watermark = 0.7;
    // ... or when the cache alone is larger than this.
    int64_t max_cache = int64_t{4} << 30;
    // kIdle, and kWatermark too, trim after this long without work.
    absl::Duration idle_after = absl::Seconds(5);
  };

  explicit ReleasePolicy(Options options) : options_(options) {}

  // "never", "watermark", "idle" or "always".
  static absl::StatusOr<Kind> Parse(std::string_view name);

  bool TrimAfterBatch(const MemoryReading& reading) const;
  // `idle`: time since the last batch ended.
  bool TrimWhenIdle(const MemoryReading& reading, absl::Duration idle) const;

 private:
  const Options options_;
};

}  // namespace embedd
