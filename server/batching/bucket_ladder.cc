// SPDX-License-Identifier: Apache-2.0

#include "server/batching/bucket_ladder.h"

#include <algorithm>

namespace embedd {

BucketLadder::BucketLadder(int max_batch) {
  for (int rung = 1; rung < max_batch; rung *= 2) rungs_.push_back(rung);
  rungs_.push_back(std::max(1, max_batch));
}

int BucketLadder::Up(int n) const {
  const auto it = std::lower_bound(rungs_.begin(), rungs_.end(), n);
  return it == rungs_.end() ? rungs_.back() : *it;
}

int BucketLadder::Down(int n) const {
  const auto it = std::upper_bound(rungs_.begin(), rungs_.end(), n);
  return it == rungs_.begin() ? rungs_.front() : *std::prev(it);
}

}  // namespace embedd
