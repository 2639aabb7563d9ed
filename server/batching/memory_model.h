// SPDX-License-Identifier: Apache-2.0
//
// MemoryModel: how much device memory a batch takes, learned from the measured peaks: bytes(b) = alpha * b +
// beta, fitted through a high percentile of the recent peaks of each size, and which size fits what is free.
// Not thread-safe; DeviceThread guards it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>

namespace embedd {

class MemoryModel {
 public:
  // A batch that the device ran as `bucket` images took `bytes` above what was allocated before.
  void Add(int bucket, int64_t bytes);

  struct Line {
    double alpha = 0;  // bytes per image
    double beta = 0;   // bytes of any batch
  };
  Line line() const;

  // Largest batch that fits `available` bytes: at least 1, at most `max`. `max` while nothing is known.
  int LargestFitting(int64_t available, int max) const;

 private:
  static constexpr size_t kSamples = 20;  // of one size: the 95th percentile of 20 is the largest but one
  struct Size {
    std::deque<int64_t> peaks;  // newest last
    double high = 0;            // their 95th percentile
  };
  std::map<int, Size> sizes_;  // by bucket
};

}  // namespace embedd
