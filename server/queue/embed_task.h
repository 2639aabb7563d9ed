// SPDX-License-Identifier: Apache-2.0
//
// EmbedTask: one input on its way to the device, with everything it holds: what its tower takes, a place in
// the queue, its deadline and the call it belongs to. Each task is answered exactly once; one that is
// destroyed unanswered answers itself as failed, so no path can lose a caller.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/queue/lane_queue.h"
#include "server/queue/places.h"
#include "server/telemetry/outcome.h"
#include "server/telemetry/reason.h"
#include "server/telemetry/tower.h"
#include "server/telemetry/trace.h"

namespace embedd {

// How one input of a call ended.
struct Answer {
  Outcome outcome = Outcome::kFailed;
  absl::Status status;            // OK if and only if outcome is kOk
  Reason reason = Reason::kNone;  // kNone when OK
  absl::Span<const float> row;    // [dimension], as the tower gave it; valid during the call of Answer only
  absl::Duration decode, queue, execute;
  uint64_t batch_id = 0;  // device batch it rode in; 0 = none
  int batch_size = 0;     // images in that batch

  static Answer Failure(Outcome outcome, absl::Status status, Reason reason) {
    Answer answer;
    answer.outcome = outcome;
    answer.status = std::move(status);
    answer.reason = reason;
    return answer;
  }
  static Answer Cancelled() {
    return Failure(Outcome::kCancelled, absl::CancelledError("the caller went away"), Reason::kCancelled);
  }
  // `when` it was too late: "while queued".
  static Answer Expired(absl::string_view when) {
    return Failure(Outcome::kExpired, absl::DeadlineExceededError(absl::StrCat("the deadline passed ", when)),
                   Reason::kDeadline);
  }
};

// The call that waits for the answers. Thread-safe.
class CallSink {
 public:
  virtual ~CallSink() = default;
  // Called once for each index, from any thread, with no lock of the road held.
  virtual void OnAnswer(uint32_t index, Answer answer) = 0;
  // The call ends now, with `status`, though inputs of it are still out: a batch hangs and may never answer.
  virtual void Fail(absl::Status status, Reason reason) {
    (void)status, (void)reason;
    MarkDead();
  }

  // Of the caller, where there is one. Set before the first task is made, then only read.
  void SetTrace(const TraceContext& trace) { trace_ = trace; }
  const std::optional<TraceContext>& trace() const { return trace_; }

  // The caller went away, or the call already failed as a whole: no work is worth doing for it any more.
  bool dead() const { return dead_.load(std::memory_order_acquire); }
  void MarkDead() { dead_.store(true, std::memory_order_release); }

 private:
  std::atomic<bool> dead_{false};
  std::optional<TraceContext> trace_;
};

class EmbedTask {
 public:
  EmbedTask() = default;
  EmbedTask(std::shared_ptr<CallSink> call, uint32_t index) : call_(std::move(call)), index_(index) {}
  EmbedTask(EmbedTask&&) noexcept = default;
  EmbedTask& operator=(EmbedTask&& other) noexcept;
  ~EmbedTask() { AnswerIfForgotten(); }

  // Gives the place and the pixels back, then tells the call. The task is empty afterwards.
  void Finish(Answer answer);

  bool empty() const { return call_ == nullptr; }
  bool dead() const { return call_->dead(); }
  const CallSink* call() const { return call_.get(); }
  const std::shared_ptr<CallSink>& shared_call() const { return call_; }
  uint32_t index() const { return index_; }

  Tower tower = Tower::kImage;
  // What the tower takes: uint8 [3, height, width] planar, as the model's ImageSpec says (behind a PatchGrid
  // where that is of each image); of a text int32 token ids [context length].
  std::unique_ptr<uint8_t[]> pixels;
  Places place;
  Lane lane = Lane::kInteractive;
  uint64_t flow = 0;  // who sent it: tasks of one connection share a flow, and flows take turns
  absl::Time deadline = absl::InfiniteFuture();
  absl::Time queued_at = absl::InfinitePast();
  absl::Duration decode_took;

 private:
  void AnswerIfForgotten();

  std::shared_ptr<CallSink> call_;
  uint32_t index_ = 0;
};

}  // namespace embedd
