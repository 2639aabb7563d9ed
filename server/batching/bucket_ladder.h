// SPDX-License-Identifier: Apache-2.0
//
// BucketLadder: the batch sizes the device runs: 1, 2, 4, … up to the largest batch, which is always the last
// rung. Few fixed shapes keep compiled graphs and allocator caches small (MPS keeps one graph for every shape
// it ever saw). Pure.

#pragma once

#include <vector>

namespace embedd {

class BucketLadder {
 public:
  // `max_batch` >= 1.
  explicit BucketLadder(int max_batch);

  // The smallest rung >= n; the last one when n is larger.
  int Up(int n) const;
  // The largest rung <= n; the first one when n < 1.
  int Down(int n) const;
  // The rung above `rung`, or the last one.
  int Next(int rung) const { return Up(rung + 1); }

  const std::vector<int>& rungs() const { return rungs_; }
  int largest() const { return rungs_.back(); }

 private:
  std::vector<int> rungs_;
};

}  // namespace embedd
