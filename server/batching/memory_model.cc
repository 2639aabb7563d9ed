// SPDX-License-Identifier: Apache-2.0

#include "server/batching/memory_model.h"

#include <algorithm>
#include <vector>

namespace embedd {
namespace {

double Percentile95(const std::deque<int64_t>& samples) {
  std::vector<int64_t> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  return static_cast<double>(sorted[(sorted.size() - 1) * 95 / 100]);
}

}  // namespace

void MemoryModel::Add(int bucket, int64_t bytes) {
  Size& size = sizes_[bucket];
  size.peaks.push_back(bytes);
  if (size.peaks.size() > kSamples) size.peaks.pop_front();
  size.high = Percentile95(size.peaks);
}

MemoryModel::Line MemoryModel::line() const {
  if (sizes_.empty()) return {};
  if (sizes_.size() == 1) return {.alpha = sizes_.begin()->second.high / sizes_.begin()->first, .beta = 0};
  double mean_x = 0, mean_y = 0;
  const double n = static_cast<double>(sizes_.size());
  for (const auto& [b, size] : sizes_) {
    mean_x += b / n;
    mean_y += size.high / n;
  }
  double xy = 0, xx = 0;
  for (const auto& [b, size] : sizes_) {
    xy += (b - mean_x) * (size.high - mean_y);
    xx += (b - mean_x) * (b - mean_x);
  }
  const double alpha = std::max(0.0, xy / xx);
  return {.alpha = alpha, .beta = std::max(0.0, mean_y - alpha * mean_x)};
}

int MemoryModel::LargestFitting(int64_t available, int max) const {
  const Line l = line();
  if (l.alpha <= 0) return max;
  const double fits = (static_cast<double>(available) - l.beta) / l.alpha;
  return static_cast<int>(std::clamp(fits, 1.0, static_cast<double>(max)));
}

}  // namespace embedd
