// SPDX-License-Identifier: Apache-2.0

#include "server/reply/pending_call.h"

#include <algorithm>
#include <utility>

namespace embedd {
namespace {

// A failure of the whole call rather than of one input: what made it happen holds for its neighbours too.
bool FailsTheCall(const Answer& answer) {
  switch (answer.outcome) {
    case Outcome::kExpired:
    case Outcome::kCancelled:
    case Outcome::kRefused:
      return true;
    case Outcome::kFailed:
      return RowOf(answer.reason).fails_call;
    case Outcome::kOk:
    case Outcome::kRejected:
      return false;
  }
  return true;
}

}  // namespace

PendingCall::PendingCall(Options options, Metrics* metrics, Done done)
    : options_(options), metrics_(metrics), done_(std::move(done)), unanswered_(options.inputs) {
  if (options_.trace.has_value()) SetTrace(*options_.trace);
}

void PendingCall::OnAnswer(uint32_t index, Answer answer) {
  const size_t row_bytes = static_cast<size_t>(options_.dimension) * BytesPerNumber(options_.encoding);
  // A dead call's data may be on its way out already: its rows are not touched any more.
  if (answer.outcome == Outcome::kOk && !dead()) {
    char* row = Rows() + index * row_bytes;
    if (!PackRow(answer.row, options_.normalize, options_.encoding, row)) {
      std::fill_n(row, row_bytes, '\0');
      answer.outcome = Outcome::kFailed;
      answer.status = absl::InternalError("the vector cannot be written in the encoding asked for");
      answer.reason = Reason::kBadOutput;
    }
  }
  metrics_->CountImages(answer.outcome);

  const bool fails_the_call = FailsTheCall(answer);
  bool ends_well = false;
  {
    MutexLock lock(&mu_);
    failed_ = failed_ || fails_the_call;
    ends_well = --unanswered_ == 0 && !failed_;
    timing_.decode = std::max(timing_.decode, answer.decode);
    timing_.queue = std::max(timing_.queue, answer.queue);
    timing_.execute = std::max(timing_.execute, answer.execute);
    timing_.largest_batch = std::max(timing_.largest_batch, static_cast<uint32_t>(answer.batch_size));
    if (answer.batch_id != 0 &&
        std::find(batch_ids_.begin(), batch_ids_.end(), answer.batch_id) == batch_ids_.end()) {
      batch_ids_.push_back(answer.batch_id);
    }
    if (answer.outcome != Outcome::kOk) failures_.push_back({index, answer.status, answer.reason});
  }
  if (fails_the_call) {
    MarkDead();  // the others need not run
    Finish(answer.status, answer.reason);
  } else if (ends_well) {
    Finish(absl::OkStatus(), Reason::kNone);
  }
}

char* PendingCall::Rows() {
  MutexLock lock(&mu_);
  if (data_.empty()) data_.resize(AllRowBytes());
  return data_.data();
}

size_t PendingCall::AllRowBytes() const {
  return size_t{options_.inputs} * static_cast<size_t>(options_.dimension) *
         BytesPerNumber(options_.encoding);
}

void PendingCall::Fail(absl::Status status, Reason reason) {
  MarkDead();
  Finish(std::move(status), reason);
}

void PendingCall::Cancel() { Fail(absl::CancelledError("the caller went away"), Reason::kCancelled); }

void PendingCall::Finish(absl::Status status, Reason reason) {
  Done done;
  CallResult result;
  {
    MutexLock lock(&mu_);
    if (done_ == nullptr) return;
    done = std::exchange(done_, nullptr);
    result.timing = timing_;
    result.timing.batches = static_cast<uint32_t>(batch_ids_.size());
    if (status.ok()) {
      result.failures = std::move(failures_);
      std::sort(result.failures.begin(), result.failures.end(),
                [](const InputFailure& a, const InputFailure& b) { return a.index < b.index; });
    }
  }
  // Only a call whose inputs are all answered ends well, so nobody writes rows any more.
  if (status.ok()) {
    result.data = std::move(data_);
    result.data.resize(AllRowBytes());  // of a call without a single vector: all zero
  }
  result.status = std::move(status);
  result.reason = reason;
  done(std::move(result));
}

}  // namespace embedd
