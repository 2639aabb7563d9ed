// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer_place.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace embedd {

AnswerPlace& AnswerPlace::operator=(AnswerPlace&& other) noexcept {
  if (this == &other) return *this;
  Release();
  ledger_ = std::exchange(other.ledger_, nullptr);
  flow_ = other.flow_;
  bytes_ = other.bytes_;
  place_ = std::move(other.place_);
  return *this;
}

void AnswerPlace::Hold(Places place) {
  place_ = std::move(place);
  ledger_->held_of_budget_ += place_.bytes();
}

void AnswerPlace::Release() {
  if (ledger_ == nullptr) return;
  // The share first: whoever is woken by the place finds it free.
  AnswerLedger* const ledger = std::exchange(ledger_, nullptr);
  ledger->GiveBack(flow_, bytes_);
  ledger->held_of_budget_ -= place_.bytes();
  place_.Release();
}

absl::StatusOr<AnswerPlace> AnswerLedger::Reserve(uint64_t flow, int64_t bytes) {
  MutexLock lock(&mu_);
  const auto held = shares_.find(flow);
  if (held != shares_.end() && most_ > 0 && held->second + bytes > most_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the answers to this connection that are under way or not read hold ", held->second,
                     " bytes of the queue, of ", most_, " that one connection may hold: read them first"));
  }
  if (bytes > 0) shares_[flow] += bytes;
  return AnswerPlace(this, flow, bytes);
}

void AnswerLedger::GiveBack(uint64_t flow, int64_t bytes) {
  MutexLock lock(&mu_);
  const auto held = shares_.find(flow);
  if (held != shares_.end() && (held->second -= bytes) == 0) shares_.erase(held);
}

}  // namespace embedd
