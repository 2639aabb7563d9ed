// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/load_report.h"

#include <algorithm>
#include <bit>

namespace embedd {
namespace {

// A protobuf field of type double: its tag, then the number, little-endian.
void AppendDouble(int field, double value, std::string& out) {
  out.push_back(static_cast<char>(field << 3 | 1));
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(bits >> (8 * i)));
}

}  // namespace

std::string OrcaLoadReport(double per_second, double utilization) {
  std::string report;
  AppendDouble(6, per_second, report);
  AppendDouble(9, utilization, report);
  return report;
}

void RateMeter::Count(int64_t images) {
  MutexLock lock(&mu_);
  const absl::Time now = clock_->TimeNow();
  if (now - began_ >= window_) {
    has_before_ = now - began_ < 2 * window_;  // else nothing came for a whole window: begin anew
    before_ = now_;
    now_ = 0;
    began_ = has_before_ ? began_ + window_ : now;
  }
  now_ += images;
}

double RateMeter::PerSecond() const {
  MutexLock lock(&mu_);
  const absl::Duration all = clock_->TimeNow() - began_ + (has_before_ ? window_ : absl::ZeroDuration());
  const int64_t images = now_ + (has_before_ ? before_ : 0);
  // In the first moment the rate is not known yet: not more than all that came, in a second.
  return static_cast<double>(images) / std::max(1.0, absl::ToDoubleSeconds(all));
}

}  // namespace embedd
