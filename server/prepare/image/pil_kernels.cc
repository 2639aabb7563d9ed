// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/pil_kernels.h"

#include <algorithm>

namespace embedd {
namespace {

uint8_t Clip(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kPilBits, 0, 255)); }

void Horizontal(const uint8_t* const* in, const PilAxis& axis, uint8_t* const* out) {
  for (int row = 0; row < PilKernels::kRows; ++row) {
    for (int i = 0; i < axis.count(); ++i) {
      const uint8_t* p = in[row] + 3 * axis.start(i);
      const int32_t* w = axis.weights(i);
      int32_t r = kPilRound, g = kPilRound, b = kPilRound;
      for (int t = 0; t < axis.taps(i); ++t, p += 3) {
        r += p[0] * w[t];
        g += p[1] * w[t];
        b += p[2] * w[t];
      }
      out[row][3 * i] = Clip(r);
      out[row][3 * i + 1] = Clip(g);
      out[row][3 * i + 2] = Clip(b);
    }
  }
}

void Vertical(const uint8_t* in, int64_t stride, const PilAxis& axis, int i, int64_t bytes, uint8_t* out) {
  // Blocks keep the sums in registers or the first-level cache while the rows go by.
  constexpr int64_t kBlock = 64;
  const int32_t* w = axis.weights(i);
  int32_t sums[kBlock];
  for (int64_t begin = 0; begin < bytes; begin += kBlock) {
    const int64_t n = std::min(kBlock, bytes - begin);
    std::fill(sums, sums + n, kPilRound);
    for (int t = 0; t < axis.taps(i); ++t) {
      const uint8_t* row = in + t * stride + begin;
      for (int64_t j = 0; j < n; ++j) sums[j] += row[j] * w[t];
    }
    for (int64_t j = 0; j < n; ++j) out[begin + j] = Clip(sums[j]);
  }
}

void Planar(const uint8_t* rgb, int width, uint8_t* r, uint8_t* g, uint8_t* b) {
  for (int x = 0; x < width; ++x, rgb += 3) {
    r[x] = rgb[0];
    g[x] = rgb[1];
    b[x] = rgb[2];
  }
}

}  // namespace

const PilKernels& PortablePilKernels() {
  static constexpr PilKernels kKernels = {"portable", Horizontal, Vertical, Planar};
  return kKernels;
}

const PilKernels& BestPilKernels() {
  static const PilKernels& best = Avx2PilKernels() != nullptr ? *Avx2PilKernels() : PortablePilKernels();
  return best;
}

}  // namespace embedd
