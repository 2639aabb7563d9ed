// SPDX-License-Identifier: Apache-2.0

#include "server/release/leak_watch.h"

namespace embedd {

void LeakWatch::Add(int64_t after) {
  after_.push_back(after);
  if (after_.size() > options_.window) after_.pop_front();
}

double LeakWatch::slope() const {
  const size_t n = after_.size();
  if (n < options_.window || n < 2) return 0;
  // Least squares over (i, after[i]); values relative to the first keep doubles exact.
  const double mean_x = static_cast<double>(n - 1) / 2;
  double mean_y = 0;
  for (const int64_t a : after_) mean_y += static_cast<double>(a - after_.front()) / static_cast<double>(n);
  double xy = 0, xx = 0;
  for (size_t i = 0; i < n; ++i) {
    const double dx = static_cast<double>(i) - mean_x;
    xy += dx * (static_cast<double>(after_[i] - after_.front()) - mean_y);
    xx += dx * dx;
  }
  return xy / xx;
}

}  // namespace embedd
