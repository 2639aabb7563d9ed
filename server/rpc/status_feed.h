// SPDX-License-Identifier: Apache-2.0
//
// StatusFeed: what one health Watch writes next. The watcher hears every change and is written to at its own
// pace: one write at a time, none after the end, and the last one is the status that stays. Pure logic; the
// caller holds a lock around every method and does what it is told (HealthService).

#pragma once

#include <optional>
#include <utility>

namespace embedd {

template <typename Status>
class StatusFeed {
 public:
  // The status is now `status`. Returns it when it is to be written at once.
  std::optional<Status> Change(Status status) {
    if (ended_) return std::nullopt;
    // Compared with what is being written, or was last: a change back while a write is on its way takes the
    // change before it away.
    if (told_ == status) {
      next_.reset();
      return std::nullopt;
    }
    next_ = status;
    return writing_ ? std::nullopt : Next();
  }

  // The write has ended. Returns what is to be written now.
  std::optional<Status> Written() {
    writing_ = false;
    return ended_ || !next_.has_value() ? std::nullopt : Next();
  }

  // The watcher has gone. True for the first time: the call is to be finished.
  bool End() { return !std::exchange(ended_, true); }

 private:
  std::optional<Status> Next() {
    told_ = std::exchange(next_, std::nullopt);
    writing_ = true;
    return told_;
  }

  std::optional<Status> told_, next_;  // being written, or written last; to be written after that
  bool writing_ = false, ended_ = false;
};

}  // namespace embedd
