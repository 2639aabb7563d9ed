// SPDX-License-Identifier: Apache-2.0

#include "server/batching/batch_former.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace embedd {
namespace {

// The rung to fill of `most` images, where the device runs whole rungs.
int ChooseRung(int most, const CapController& cap) {
  const int up = cap.ladder().Up(most);
  const int down = cap.ladder().Down(most);
  if (up == most || down == most) return most;
  const double padded_cost = absl::ToDoubleSeconds(cap.time().Predict(up)) / most;
  const double lower_cost = absl::ToDoubleSeconds(cap.time().Predict(down)) / down;
  return padded_cost <= lower_cost ? most : down;
}

// A batch is filled up with bulk images only as far as the bulk cap allows.
int MostImages(const BoundedQueue::Sizes& waiting, const CapController::Cap& cap) {
  const int interactive = std::min(waiting.interactive, cap.images);
  return std::max(interactive, std::min(waiting.interactive + waiting.bulk, cap.bulk));
}

}  // namespace

BoundedQueue::Want PlanBatch(const BoundedQueue::Sizes& waiting, const CapController& cap, bool padded) {
  const CapController::Cap now = cap.cap();
  BoundedQueue::Want want;
  want.max_images = std::max(1, MostImages(waiting, now));
  if (padded) want.max_images = ChooseRung(want.max_images, cap);
  want.max_with_bulk = std::min(want.max_images, now.bulk);
  std::vector<absl::Duration> times;
  for (int n = 0; n <= want.max_images; ++n) times.push_back(cap.time().Predict(n));
  want.batch_time = [times = std::move(times)](int n) {
    return times[static_cast<size_t>(std::clamp<int>(n, 0, static_cast<int>(times.size()) - 1))];
  };
  return want;
}

}  // namespace embedd
