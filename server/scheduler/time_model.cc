// SPDX-License-Identifier: Apache-2.0

#include "server/scheduler/time_model.h"

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
  const auto own = median_.find(rung);
  const auto at_or_above = median_.lower_bound(rung);
  // In proportion to the nearest smaller rung: an upper bound, since time grows slower than size. It also
  // corrects a rung that was measured in a bad moment and is avoided since.
  if (at_or_above != median_.begin()) {
    const auto below = std::prev(at_or_above);
    const double bound = below->second * rung / below->first;
    return own == median_.end() ? bound : std::min(own->second, bound);
  }
  return at_or_above->second * rung / at_or_above->first;
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
