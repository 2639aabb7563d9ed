// SPDX-License-Identifier: Apache-2.0

#include "server/scheduler/batch_former.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace embedd {
namespace {

int ChooseSize(int waiting, const CapController& cap, bool padded) {
  const int most = std::min(waiting, cap.cap().images);
  if (!padded) return most;
  const int up = cap.ladder().Up(most);
  const int down = cap.ladder().Down(most);
  if (up == most || down == most) return most;
  const double padded_cost = absl::ToDoubleSeconds(cap.time().Predict(up)) / most;
  const double lower_cost = absl::ToDoubleSeconds(cap.time().Predict(down)) / down;
  return padded_cost <= lower_cost ? most : down;
}

}  // namespace

bool ShouldForm(int waiting, int in_flight, const CapController& cap) {
  if (waiting == 0) return false;
  if (in_flight == 0) return true;
  return in_flight == 1 && waiting >= cap.cap().images;
}

BoundedQueue::Want PlanBatch(int waiting, const CapController& cap, bool padded) {
  BoundedQueue::Want want;
  want.max_images = ChooseSize(std::max(1, waiting), cap, padded);
  std::vector<absl::Duration> times;
  for (int n = 0; n <= want.max_images; ++n) times.push_back(cap.time().Predict(n));
  want.batch_time = [times = std::move(times)](int n) {
    return times[static_cast<size_t>(std::clamp<int>(n, 0, static_cast<int>(times.size()) - 1))];
  };
  return want;
}

}  // namespace embedd
