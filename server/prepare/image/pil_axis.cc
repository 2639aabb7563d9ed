// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/pil_axis.h"

#include <algorithm>
#include <cmath>

namespace embedd {
namespace {

// Keys' cubic with a = -0.5, and the triangle. The order of the operations is part of the contract: another
// order rounds differently and moves a weight by one unit of the 22-bit fixed point. Built with
// -ffp-contract=off.
double Cubic(double x) {
  constexpr double kA = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * kA;
  return 0.0;
}

double Triangle(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

struct Filter {
  double scale;    // input samples per output sample
  double stretch;  // the filter is widened by this when shrinking, so that it also removes aliases
  double support;  // half width in input samples
};

Filter MakeFilter(double in, int64_t out, Interpolation interpolation) {
  Filter filter;
  filter.scale = in / static_cast<double>(out);
  filter.stretch = std::max(filter.scale, 1.0);
  filter.support = (interpolation == Interpolation::kBicubic ? 2.0 : 1.0) * filter.stretch;
  return filter;
}

int64_t RoundUpToGroup(int64_t taps) { return (taps + kPilGroup - 1) / kPilGroup * kPilGroup; }

int32_t ToFixed(double weight) {
  const double scaled = weight * (int32_t{1} << kPilBits);
  return static_cast<int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

}  // namespace

int64_t PilAxis::MaxTaps(int64_t in, int64_t out, Interpolation interpolation) {
  const double support = MakeFilter(static_cast<double>(in), out, interpolation).support;
  return std::min<int64_t>(in, static_cast<int64_t>(std::ceil(support)) * 2 + 1);
}

PilAxis::PilAxis(int64_t in, int64_t out, int64_t first, int count, Interpolation interpolation,
                 double covered) {
  const Filter filter = MakeFilter(covered > 0 ? covered : static_cast<double>(in), out, interpolation);
  const double shrink = 1.0 / filter.stretch;
  stride_ = RoundUpToGroup(MaxTaps(in, out, interpolation));
  start_.resize(count);
  taps_.resize(count);
  weights_.assign(count * stride_, 0);
  split_.assign(2 * count * stride_, 0);

  std::vector<double> w(stride_);
  for (int i = 0; i < count; ++i) {
    const double center = (static_cast<double>(first + i) + 0.5) * filter.scale;
    const int64_t begin = std::max<int64_t>(static_cast<int64_t>(center - filter.support + 0.5), 0);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(center + filter.support + 0.5), in);
    const int taps = static_cast<int>(end - begin);
    double sum = 0.0;
    for (int t = 0; t < taps; ++t) {
      const double x = (static_cast<double>(t + begin) - center + 0.5) * shrink;
      w[t] = interpolation == Interpolation::kBicubic ? Cubic(x) : Triangle(x);
      sum += w[t];
    }
    int32_t* fixed = weights_.data() + i * stride_;
    int16_t* split = split_.data() + 2 * i * stride_;
    for (int t = 0; t < taps; ++t) {
      fixed[t] = ToFixed(sum != 0.0 ? w[t] / sum : w[t]);
      int16_t* group = split + t / kPilGroup * 2 * kPilGroup + t % kPilGroup;
      group[0] = static_cast<int16_t>(fixed[t] >> kPilSplitBits);
      group[kPilGroup] = static_cast<int16_t>(fixed[t] & ((1 << kPilSplitBits) - 1));
    }
    start_[i] = begin;
    taps_[i] = taps;
  }

  origin_ = start_.front();
  end_ = start_.back() + taps_.back();
  for (int i = 0; i < count; ++i) {
    start_[i] -= origin_;
    reach_ = std::max(reach_, start_[i] + RoundUpToGroup(taps_[i]));
  }
}

}  // namespace embedd
