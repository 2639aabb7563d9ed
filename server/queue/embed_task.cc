// SPDX-License-Identifier: Apache-2.0

#include "server/queue/embed_task.h"

namespace embedd {

EmbedTask& EmbedTask::operator=(EmbedTask&& other) noexcept {
  if (this == &other) return *this;
  AnswerIfForgotten();
  tower = other.tower;
  pixels = std::move(other.pixels);
  place = std::move(other.place);
  lane = other.lane;
  flow = other.flow;
  deadline = other.deadline;
  queued_at = other.queued_at;
  decode_took = other.decode_took;
  call_ = std::move(other.call_);
  index_ = other.index_;
  return *this;
}

void EmbedTask::Finish(Answer answer) {
  // First give back, then tell: a caller that hears its answer and asks again finds the place free.
  pixels.reset();
  place.Release();
  const std::shared_ptr<CallSink> call = std::move(call_);
  call->OnAnswer(index_, std::move(answer));
}

void EmbedTask::AnswerIfForgotten() {
  if (call_ == nullptr) return;
  Finish(Answer::Failure(Outcome::kFailed,
                         absl::InternalError("the server dropped this input; this is a bug"),
                         Reason::kInternalError));
}

}  // namespace embedd
