// SPDX-License-Identifier: Apache-2.0
//
// AnswerPlace: the bytes of a budget that one answer takes, from the admission of its call until the system
// has all of it: a caller that does not read holds its own part of the budget, and nobody's memory beside it.

#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "server/queue/places.h"

namespace embedd {

class AnswerPlace {
 public:
  AnswerPlace() = default;
  // `sum` counts what all of them hold, for the metrics; it must outlive this.
  AnswerPlace(Places place, std::atomic<int64_t>* sum) : place_(std::move(place)), sum_(sum) {
    *sum_ += place_.bytes();
  }
  AnswerPlace(AnswerPlace&& other) noexcept { *this = std::move(other); }
  AnswerPlace& operator=(AnswerPlace&& other) noexcept {
    if (this == &other) return *this;
    Release();
    place_ = std::move(other.place_);
    sum_ = std::exchange(other.sum_, nullptr);
    return *this;
  }
  ~AnswerPlace() { Release(); }

  void Release() {
    if (sum_ == nullptr) return;
    const int64_t bytes = place_.bytes();
    place_.Release();
    *std::exchange(sum_, nullptr) -= bytes;
  }

 private:
  Places place_;
  std::atomic<int64_t>* sum_ = nullptr;
};

}  // namespace embedd
