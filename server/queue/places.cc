// SPDX-License-Identifier: Apache-2.0

#include "server/queue/places.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"

namespace embedd {

Places& Places::operator=(Places&& other) noexcept {
  if (this == &other) return *this;
  Release();
  budget_ = std::exchange(other.budget_, nullptr);
  images_ = std::exchange(other.images_, 0);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

Places Places::Take(int images, int64_t bytes) {
  images = std::min(images, images_);
  bytes = std::min(bytes, bytes_);
  images_ -= images;
  bytes_ -= bytes;
  return Places(budget_, images, bytes);
}

void Places::ShrinkTo(int64_t bytes) {
  if (bytes >= bytes_) return;
  const int64_t back = bytes_ - bytes;
  bytes_ = bytes;
  budget_->GiveBack(0, back);
}

void Places::Release() {
  if (budget_ == nullptr) return;
  PlaceBudget* budget = std::exchange(budget_, nullptr);
  budget->GiveBack(std::exchange(images_, 0), std::exchange(bytes_, 0));
}

absl::StatusOr<Places> PlaceBudget::Reserve(int images, int64_t bytes) {
  return ReserveOrWait(images, bytes, nullptr);
}

absl::StatusOr<Places> PlaceBudget::ReserveOrWait(int images, int64_t bytes,
                                                  std::function<void(Places)> granted) {
  if (images > options_.images) {
    return absl::OutOfRangeError(absl::StrCat("the call has ", images, " inputs, the queue holds at most ",
                                              options_.images, " (--queue-images): send fewer at once"));
  }
  if (bytes > options_.bytes) {
    return absl::OutOfRangeError(absl::StrCat("the call needs ", bytes,
                                              " bytes in the queue, which holds at most ", options_.bytes,
                                              " (--queue-bytes): send less at once"));
  }
  MutexLock lock(&mu_);
  // Those who wait go first, or a stream could wait for ever behind calls that never do. These may go before
  // it some times, as they get no second chance while small places come free one by one.
  const bool passes = !waiters_.empty();
  const bool may_pass = granted == nullptr && passed_ < kMostPasses;
  if (FitsLocked(images, bytes) && (!passes || may_pass)) {
    if (passes) ++passed_;
    used_.images += images;
    used_.bytes += bytes;
    return Places(this, images, bytes);
  }
  if (granted != nullptr) waiters_.push_back({images, bytes, std::move(granted)});
  return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", used_.images, " of ",
                                                   options_.images, " images and ", used_.bytes, " of ",
                                                   options_.bytes, " bytes are taken"));
}

bool PlaceBudget::FitsLocked(int images, int64_t bytes) const {
  return used_.images + images <= options_.images && used_.bytes + bytes <= options_.bytes;
}

void PlaceBudget::GiveBack(int images, int64_t bytes) {
  std::vector<Waiter> served;
  {
    MutexLock lock(&mu_);
    used_.images -= images;
    used_.bytes -= bytes;
    while (!waiters_.empty() && FitsLocked(waiters_.front().images, waiters_.front().bytes)) {
      used_.images += waiters_.front().images;
      used_.bytes += waiters_.front().bytes;
      served.push_back(std::move(waiters_.front()));
      waiters_.pop_front();
      passed_ = 0;
    }
  }
  for (Waiter& next : served) next.granted(Places(this, next.images, next.bytes));
}

PlaceBudget::Usage PlaceBudget::usage() const {
  MutexLock lock(&mu_);
  return used_;
}

}  // namespace embedd
