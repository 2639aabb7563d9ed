// SPDX-License-Identifier: Apache-2.0
//
// When to try one refused request again. Pure: time and chance are passed in, so its tests never wait.
//
// Tried again are refusals made before the server spent anything on the request, RESOURCE_EXHAUSTED that says
// so (reason QUEUE_FULL, or a pushback) and UNAVAILABLE (loading, draining), and calls cut by a server that
// went away: UNAVAILABLE or CANCELLED, which gRPC uses by turns for a server that is shut down. A message
// that is too large is RESOURCE_EXHAUSTED too and would fail for ever.

#pragma once

#include <optional>

#include "absl/time/time.h"
#include "client/cpp/src/status.h"

namespace embedd::client::internal {

class Retry {
 public:
  struct Options {
    // From the first refusal. Zero: no second attempt.
    absl::Duration retry_for = absl::ZeroDuration();
    // The call as a whole ends by then; no attempt starts later.
    absl::Time deadline = absl::InfiniteFuture();
    // Waits of our own, where the server names none: doubled from the first to the longest.
    absl::Duration first_wait = absl::Milliseconds(100);
    absl::Duration longest_wait = absl::Seconds(5);
  };

  explicit Retry(const Options& options) : options_(options) {}

  // How long to wait before the next attempt, or nothing when there shall be none. `chance`, in [0, 1),
  // spreads callers that were refused together: never below what the server asked for, else by a fifth either
  // way. `elsewhere`: how long until another server can be asked, where there is one; what one server asks
  // for does not hold for the others. There a request that ran out of time is sent once more too.
  std::optional<absl::Duration> WaitAfter(const Failure& failure, absl::Time now, double chance,
                                          std::optional<absl::Duration> elsewhere = std::nullopt);

 private:
  absl::Duration OwnWait(const Failure& failure, double chance);

  const Options options_;
  absl::Time first_refusal_ = absl::InfiniteFuture();
  int refusals_ = 0;
  bool moved_ = false;  // after it ran out of time
};

// The server is not there, or not ready. CANCELLED only counts as long as this side did not cancel.
bool OutOfReach(const absl::Status& status);

// Whether another attempt could succeed at all.
bool MayRetry(const Failure& failure);

}  // namespace embedd::client::internal
