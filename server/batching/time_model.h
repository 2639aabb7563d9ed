// SPDX-License-Identifier: Apache-2.0
//
// TimeModel: how long a batch takes on the device, learned from the batches that ran. One median per rung of
// the ladder; a rung that never ran is guessed from its nearest neighbour. Not thread-safe; DeviceThread
// guards it.

#pragma once

#include <deque>
#include <map>
#include <utility>

#include "absl/time/time.h"
#include "server/batching/bucket_ladder.h"

namespace embedd {

class TimeModel {
 public:
  // `padded`: every batch runs as a whole rung, so n images cost as much as the rung above n.
  TimeModel(BucketLadder ladder, bool padded) : ladder_(std::move(ladder)), padded_(padded) {}

  // A batch of n images took `took`; without padding a batch between two rungs counts for the rung above, in
  // proportion.
  void Add(int n, absl::Duration took);

  // Expected time of n images. Zero while nothing is known.
  absl::Duration Predict(int n) const;

  // Images per second at size n; 0 while nothing is known.
  double Rate(int n) const;

 private:
  static constexpr size_t kSamples = 16;
  double RungSeconds(int rung) const;

  BucketLadder ladder_;
  bool padded_;
  std::map<int, std::deque<double>> seconds_;  // by rung, newest last
  std::map<int, double> median_;
};

}  // namespace embedd
