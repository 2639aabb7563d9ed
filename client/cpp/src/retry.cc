// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/retry.h"

#include <algorithm>

#include "embedd/client.h"

namespace embedd::client::internal {

bool OutOfReach(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status);
}

bool MayRetry(const Failure& failure) {
  if (failure.retry_forbidden) return false;
  if (OutOfReach(failure.status)) return true;
  return absl::IsResourceExhausted(failure.status) &&
         (failure.pushback.has_value() || ErrorReason(failure.status) == "QUEUE_FULL");
}

std::optional<absl::Duration> Retry::WaitAfter(const Failure& failure, absl::Time now, double chance) {
  if (!MayRetry(failure)) return std::nullopt;
  first_refusal_ = std::min(first_refusal_, now);

  // The trailer is what gRPC's own retries obey, so it wins over RetryInfo.
  const auto asked = failure.pushback ? failure.pushback : RetryAfter(failure.status);
  absl::Duration wait;
  if (asked) {
    wait = std::max(*asked, absl::ZeroDuration()) * (1 + 0.2 * chance);
  } else {
    const auto doubled = options_.first_wait * static_cast<double>(1 << std::min(refusals_, 16));
    wait = std::min(doubled, options_.longest_wait) * (0.8 + 0.4 * chance);
  }
  ++refusals_;
  const absl::Time next = now + wait;
  if (next >= options_.deadline || next >= first_refusal_ + options_.retry_for) return std::nullopt;
  return wait;
}

}  // namespace embedd::client::internal
