// SPDX-License-Identifier: Apache-2.0
//
// PilAxis: the filter weights of one axis of a Pillow resize, for a window of its outputs only.
// Used by PilResample; the kernels read it. Pure data once made.

#pragma once

#include <cstdint>
#include <vector>

#include "server/model/model_spec.h"

namespace embedd {

// Pillow's fixed point: weights carry 22 fraction bits, so 8 bits of pixel and the overshoot of the filter
// fit in 32.
inline constexpr int kPilBits = 22;
inline constexpr int32_t kPilRound = int32_t{1} << (kPilBits - 1);
// The vector kernels multiply 16 by 16 bits: weight = high * 2^11 + low, 0 <= low < 2^11.
inline constexpr int kPilSplitBits = 11;
// Weights come in groups of this many taps, padded with zero.
inline constexpr int kPilGroup = 4;

class PilAxis {
 public:
  // Outputs [first, first + count) of an axis resized from `in` to `out` samples.
  //   in >= 1, out >= 1, 0 <= first, count >= 1, first + count <= out
  // `covered`: samples that the picture covers, where the last is only partly in it; in - 1 < covered <= in,
  // or 0 for all.
  PilAxis(int64_t in, int64_t out, int64_t first, int count, Interpolation interpolation, double covered = 0);

  // The most taps one output of such an axis has, for deciding how many outputs to make at once.
  static int64_t MaxTaps(int64_t in, int64_t out, Interpolation interpolation);

  int count() const { return static_cast<int>(start_.size()); }
  // First input sample any output reads, and one past the last. Starts below are counted from origin().
  int64_t origin() const { return origin_; }
  int64_t end() const { return end_; }

  int64_t start(int i) const { return start_[i]; }
  int taps(int i) const { return taps_[i]; }
  int groups(int i) const { return (taps_[i] + kPilGroup - 1) / kPilGroup; }
  // taps(i) weights of output i, zero-padded to whole groups.
  const int32_t* weights(int i) const { return weights_.data() + i * stride_; }
  // The same weights split: for each group four highs, then four lows.
  const int16_t* split(int i) const { return split_.data() + 2 * i * stride_; }
  // Samples from origin() that a kernel reads at most when it takes whole groups.
  int64_t reach() const { return reach_; }

 private:
  int64_t origin_ = 0;
  int64_t end_ = 0;
  int64_t reach_ = 0;
  int64_t stride_ = 0;
  std::vector<int64_t> start_;
  std::vector<int> taps_;
  std::vector<int32_t> weights_;
  std::vector<int16_t> split_;
};

}  // namespace embedd
