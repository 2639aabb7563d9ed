// SPDX-License-Identifier: Apache-2.0

#include "server/release/release_policy.h"

namespace embedd {

bool ReleasePolicy::TrimAfterBatch(const MemoryReading& reading) const {
  const int64_t cache = reading.reserved - reading.allocated;
  if (cache <= 0) return false;
  switch (options_.kind) {
    case ReleaseKind::kAlways:
      return true;
    case ReleaseKind::kWatermark:
      if (cache > options_.max_cache) return true;
      return reading.limit > 0 && cache * 2 >= reading.reserved &&
             static_cast<double>(reading.reserved) > options_.watermark * static_cast<double>(reading.limit);
    case ReleaseKind::kNever:
    case ReleaseKind::kIdle:
      return false;
  }
  return false;
}

bool ReleasePolicy::TrimWhenIdle(const MemoryReading& reading, absl::Duration idle) const {
  if (options_.kind != ReleaseKind::kIdle && options_.kind != ReleaseKind::kWatermark) return false;
  return reading.reserved > reading.allocated && idle >= options_.idle_after;
}

}  // namespace embedd
