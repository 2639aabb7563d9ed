// SPDX-License-Identifier: Apache-2.0

#include "server/release/release_policy.h"

#include "absl/strings/str_cat.h"

namespace embedd {

absl::StatusOr<ReleasePolicy::Kind> ReleasePolicy::Parse(std::string_view name) {
  if (name == "never") return Kind::kNever;
  if (name == "watermark") return Kind::kWatermark;
  if (name == "idle") return Kind::kIdle;
  if (name == "always") return Kind::kAlways;
  return absl::InvalidArgumentError(
      absl::StrCat("--release is \"", std::string(name), "\"; it takes never, watermark, idle or always"));
}

bool ReleasePolicy::TrimAfterBatch(const MemoryReading& reading) const {
  const int64_t cache = reading.reserved - reading.allocated;
  if (cache <= 0) return false;
  switch (options_.kind) {
    case Kind::kAlways:
      return true;
    case Kind::kWatermark:
      if (cache > options_.max_cache) return true;
      return reading.limit > 0 && cache * 2 >= reading.reserved &&
             static_cast<double>(reading.reserved) > options_.watermark * static_cast<double>(reading.limit);
    case Kind::kNever:
    case Kind::kIdle:
      return false;
  }
  return false;
}

bool ReleasePolicy::TrimWhenIdle(const MemoryReading& reading, absl::Duration idle) const {
  if (options_.kind != Kind::kIdle && options_.kind != Kind::kWatermark) return false;
  return reading.reserved > reading.allocated && idle >= options_.idle_after;
}

}  // namespace embedd
