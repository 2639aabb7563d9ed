// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/retry.h"

#include <algorithm>
#include <utility>

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

std::optional<absl::Duration> Retry::WaitAfter(const Failure& failure, absl::Time now, double chance,
                                               std::optional<absl::Duration> elsewhere) {
  const bool late = absl::IsDeadlineExceeded(failure.status) && elsewhere && !std::exchange(moved_, true);
  const bool refused_here = OutOfReach(failure.status) && elsewhere;  // whatever it says of itself
  if (!late && !refused_here && !MayRetry(failure)) return std::nullopt;
  first_refusal_ = std::min(first_refusal_, now);

  absl::Duration wait = absl::ZeroDuration();
  if (elsewhere != absl::ZeroDuration()) {
    wait = OwnWait(failure, chance);
    if (elsewhere) wait = std::min(wait, *elsewhere);
  }
  const absl::Time next = now + wait;
  if (next >= options_.deadline || next >= first_refusal_ + options_.retry_for) return std::nullopt;
  return wait;
}

absl::Duration Retry::OwnWait(const Failure& failure, double chance) {
  // The trailer is what gRPC's own retries obey, so it wins over RetryInfo.
  const auto asked = failure.pushback ? failure.pushback : RetryAfter(failure.status);
  if (asked) {
    ++refusals_;
    return std::max(*asked, absl::ZeroDuration()) * (1 + 0.2 * chance);
  }
  const auto doubled = options_.first_wait * static_cast<double>(1 << std::min(refusals_++, 16));
  return std::min(doubled, options_.longest_wait) * (0.8 + 0.4 * chance);
}

}  // namespace embedd::client::internal
