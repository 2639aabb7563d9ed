// SPDX-License-Identifier: Apache-2.0

#include "server/batching/time_model.h"

#include <algorithm>
#include <vector>

namespace embedd {

void TimeModel::Add(int n, absl::Duration took) {
  if (n < 1 || took < absl::ZeroDuration()) return;
  const int rung = ladder_.Up(n);
  double seconds = absl::ToDoubleSeconds(took);
  if (!padded_) seconds = seconds * rung / n;
  std::deque<double>& samples = seconds_[rung];
  samples.push_back(seconds);
  if (samples.size() > kSamples) samples.pop_front();
  std::vector<double> sorted(samples.begin(), samples.end());
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  median_[rung] = sorted[sorted.size() / 2];
}

double TimeModel::RungSeconds(int rung) const {
  // Bounded, rung by rung from below, by proportion: time grows slower than size. This also corrects a rung
  // that was measured in a bad moment and is avoided since.
  int below = 0;
  double seconds = 0;
  for (const auto& [size, median] : median_) {
    if (size > rung) break;
    seconds = below == 0 ? median : std::min(median, seconds * size / below);
    below = size;
  }
  if (below > 0) return seconds * rung / below;
  return median_.begin()->second * rung / median_.begin()->first;
}

absl::Duration TimeModel::Predict(int n) const {
  if (median_.empty() || n < 1) return absl::ZeroDuration();
  const int rung = ladder_.Up(n);
  const double seconds = RungSeconds(rung);
  return absl::Seconds(padded_ ? seconds : seconds * n / rung);
}

double TimeModel::Rate(int n) const {
  const double seconds = absl::ToDoubleSeconds(Predict(n));
  return seconds > 0 ? n / seconds : 0;
}

}  // namespace embedd
