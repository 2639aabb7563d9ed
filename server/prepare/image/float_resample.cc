// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/float_resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace embedd {
namespace {

// What one output takes of an axis. torch computes it so, in floats (UpSampleKernel.cpp).
struct Taps {
  int64_t first = 0;
  std::vector<float> weights;
};

Taps TapsOf(int i, int in, int out) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  const float support = std::max(scale, 1.0f), inverse = scale >= 1 ? 1 / scale : 1.0f;
  const float centre = scale * (static_cast<float>(i) + 0.5f);
  Taps taps;
  taps.first = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5f), 0);
  const int64_t end = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5f), in);
  float sum = 0;
  for (int64_t j = taps.first; j < end; ++j) {
    const float x = std::fabs((static_cast<float>(j) - centre + 0.5f) * inverse);
    taps.weights.push_back(x < 1 ? 1 - x : 0);
    sum += taps.weights.back();
  }
  for (float& weight : taps.weights) weight /= sum;
  return taps;
}

}  // namespace

void FloatResample(const uint8_t* rgb, int width, int height, const ImageSpec& spec, uint8_t* out) {
  std::vector<Taps> across;
  across.reserve(static_cast<size_t>(spec.width));
  for (int x = 0; x < spec.width; ++x) across.push_back(TapsOf(x, width, spec.width));
  const size_t values = static_cast<size_t>(spec.width) * 3;
  std::vector<float> sum(values);
  std::vector<uint32_t> line(static_cast<size_t>(spec.width));
  for (int y = 0; y < spec.height; ++y) {
    const Taps down = TapsOf(y, height, spec.height);
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (size_t k = 0; k < down.weights.size(); ++k) {
      const uint8_t* in = rgb + (down.first + static_cast<int64_t>(k)) * width * 3;
      for (size_t x = 0; x < across.size(); ++x) {
        const uint8_t* pixel = in + across[x].first * 3;
        float r = 0, g = 0, b = 0;
        for (const float weight : across[x].weights) {
          r += weight * static_cast<float>(pixel[0]);
          g += weight * static_cast<float>(pixel[1]);
          b += weight * static_cast<float>(pixel[2]);
          pixel += 3;
        }
        sum[3 * x] += down.weights[k] * r;
        sum[3 * x + 1] += down.weights[k] * g;
        sum[3 * x + 2] += down.weights[k] * b;
      }
    }
    for (size_t channel = 0; channel < 3; ++channel) {
      for (size_t x = 0; x < line.size(); ++x) {
        line[x] = static_cast<uint32_t>(
            std::clamp(double{sum[3 * x + channel]} * 16843009.0 + 0.5, 0.0, 4294967295.0));
      }
      std::memcpy(out + 4 * ((channel * spec.height + y) * values / 3), line.data(),
                  line.size() * sizeof(uint32_t));
    }
  }
}

}  // namespace embedd
