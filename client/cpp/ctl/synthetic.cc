// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/synthetic.h"

#include <algorithm>
#include <array>
#include <random>

namespace embedd::ctl {

std::string SyntheticPixels(uint32_t width, uint32_t height, uint32_t seed) {
  // The numbers of the engine are fixed by the standard; those of distributions are not.
  auto random = [engine = std::mt19937(seed)]() mutable { return static_cast<uint32_t>(engine()); };
  const std::array<uint32_t, 3> from{random() % 256, random() % 256, random() % 256};
  const std::array<uint32_t, 3> to{random() % 256, random() % 256, random() % 256};
  const uint32_t square = 8 + random() % 48;
  std::string rgb;
  rgb.reserve(size_t{3} * width * height);
  for (uint32_t y = 0; y < height; ++y) {
    for (uint32_t x = 0; x < width; ++x) {
      const uint32_t lift = (x / square + y / square) % 2 * 24;
      const uint32_t noise = random() % 8;
      for (size_t c = 0; c < 3; ++c) {
        const uint32_t along = c % 2 == 0 ? x * 256 / width : y * 256 / height;
        rgb.push_back(static_cast<char>(
            std::min(255U, (from[c] * (256 - along) + to[c] * along) / 256 + lift + noise)));
      }
    }
  }
  return rgb;
}

}  // namespace embedd::ctl
