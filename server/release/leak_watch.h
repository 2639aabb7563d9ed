// SPDX-License-Identifier: Apache-2.0
//
// LeakWatch: tells a leak from noise. It keeps the allocated bytes after each of the last 500 batches and
// fits a line: a slope that stays above a threshold is a leak, even when each batch alone looks clean. Used
// by the device thread only.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace embedd {

class LeakWatch {
 public:
  struct Options {
    size_t window = 500;            // batches
    double bytes_per_batch = 1024;  // slope above which it is a leak
  };

  LeakWatch() : LeakWatch(Options{}) {}
  explicit LeakWatch(Options options) : options_(options) {}

  void Add(int64_t after);
  // Forgets everything: the weights came or went, so the level changed for a reason.
  void Reset() { after_.clear(); }

  // Bytes per batch; 0 until the window is full.
  double slope() const;
  bool leaking() const { return slope() > options_.bytes_per_batch; }

 private:
  const Options options_;
  std::deque<int64_t> after_;
};

}  // namespace embedd
