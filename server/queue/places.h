// SPDX-License-Identifier: Apache-2.0
//
// PlaceBudget bounds how many images, and how many bytes of them, are in the server at once. A call reserves
// places at the edge, before memory is spent; each image carries its place along the road in a Places token,
// and destroying the token gives it back. Nothing else counts, so nothing can be counted wrong. Thread-safe.
// The budget must outlive its tokens.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "server/support/mutex.h"

namespace embedd {

class PlaceBudget;

// Images and bytes held of a budget. Movable; one owner at a time.
class Places {
 public:
  Places() = default;
  Places(Places&& other) noexcept { *this = std::move(other); }
  Places& operator=(Places&& other) noexcept;
  ~Places() { Release(); }

  int images() const { return images_; }
  int64_t bytes() const { return bytes_; }

  // Splits off a part; at most what is held.
  Places Take(int images, int64_t bytes);
  // Gives bytes back until `bytes` are left.
  void ShrinkTo(int64_t bytes);
  // Gives everything back now.
  void Release();

 private:
  friend class PlaceBudget;
  Places(PlaceBudget* budget, int images, int64_t bytes) : budget_(budget), images_(images), bytes_(bytes) {}

  PlaceBudget* budget_ = nullptr;
  int images_ = 0;
  int64_t bytes_ = 0;
};

class PlaceBudget {
 public:
  struct Options {
    int images = 1024;                   // images in the server at once
    int64_t bytes = int64_t{512} << 20;  // their bytes: encoded while waiting for decode, pixels after
  };

  explicit PlaceBudget(Options options) : options_(options) {}
  PlaceBudget(const PlaceBudget&) = delete;
  PlaceBudget& operator=(const PlaceBudget&) = delete;

  // All or nothing. kResourceExhausted: full now, worth a retry. kOutOfRange: more than the budget could ever
  // hold. An empty budget takes anything that is not out of range. What fits goes before the first of those
  // who wait, but only kMostPasses times: then places are kept until there are enough for that one.
  absl::StatusOr<Places> Reserve(int images, int64_t bytes);

  // As Reserve; when it is full now, calls `granted` once, later, from a thread that gave places back (no
  // lock held), with the places in its hand. Waiters are served in the order they came. One that has no use
  // for them any more just drops them, and the next waiter gets them: nobody can be forgotten.
  absl::StatusOr<Places> ReserveOrWait(int images, int64_t bytes, std::function<void(Places)> granted);

  struct Usage {
    int images = 0;
    int64_t bytes = 0;
  };
  Usage usage() const;
  const Options& options() const { return options_; }

 private:
  friend class Places;
  static constexpr int kMostPasses = 16;
  void GiveBack(int images, int64_t bytes);
  bool FitsLocked(int images, int64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  struct Waiter {
    int images;
    int64_t bytes;
    std::function<void(Places)> granted;
  };

  const Options options_;
  mutable Mutex mu_;
  Usage used_ ABSL_GUARDED_BY(mu_);
  std::deque<Waiter> waiters_ ABSL_GUARDED_BY(mu_);
  int passed_ ABSL_GUARDED_BY(mu_) = 0;  // reservations that went before the first waiter
};

}  // namespace embedd
