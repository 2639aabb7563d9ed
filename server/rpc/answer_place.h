// SPDX-License-Identifier: Apache-2.0
//
// AnswerPlace: the bytes of a budget that one answer takes, from the admission of its call until the system
// has all of it: a caller that does not read holds its own part of the budget, and nobody's memory beside it.
// AnswerLedger: what the answers of each connection hold together, so that one caller that never reads cannot
// hold the budget of all. Used by the reactors of EmbedBatch and EmbedStream. Thread-safe.

#pragma once

#include <atomic>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"
#include "server/queue/places.h"
#include "server/support/mutex.h"

namespace embedd {

class AnswerLedger;

// Movable; one owner at a time.
class AnswerPlace {
 public:
  AnswerPlace() = default;
  AnswerPlace(AnswerPlace&& other) noexcept { *this = std::move(other); }
  AnswerPlace& operator=(AnswerPlace&& other) noexcept;
  ~AnswerPlace() { Release(); }

  // The part of the budget that it stands for, as many bytes as were asked for.
  void Hold(Places place);
  void Release();

 private:
  friend class AnswerLedger;
  AnswerPlace(AnswerLedger* ledger, uint64_t flow, int64_t bytes)
      : ledger_(ledger), flow_(flow), bytes_(bytes) {}

  AnswerLedger* ledger_ = nullptr;
  uint64_t flow_ = 0;
  int64_t bytes_ = 0;
  Places place_;
};

// Outlives its places.
class AnswerLedger {
 public:
  // `most` bytes for one connection; 0: no bound.
  explicit AnswerLedger(int64_t most = 0) : most_(most) {}
  // Before the first call.
  void SetMost(int64_t bytes) { most_ = bytes; }

  // kResourceExhausted when the answers of this flow that are under way or unread hold so much that these
  // would be above its share. A flow that holds none may have an answer of any size.
  absl::StatusOr<AnswerPlace> Reserve(uint64_t flow, int64_t bytes);
  // What the places of all flows hold of the budget.
  int64_t bytes() const { return held_of_budget_.load(); }

 private:
  friend class AnswerPlace;
  void GiveBack(uint64_t flow, int64_t bytes);

  int64_t most_;
  Mutex mu_;
  std::unordered_map<uint64_t, int64_t> shares_ ABSL_GUARDED_BY(mu_);  // none is 0
  std::atomic<int64_t> held_of_budget_{0};
};

}  // namespace embedd
