// SPDX-License-Identifier: Apache-2.0

#include "server/model/pixel_table.h"

namespace embedd {

PixelTable::PixelTable(const ImageSpec& spec) {
  for (size_t c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) {
      const float unit = static_cast<float>(v) / 255.0f;
      const float centred = unit - spec.mean[c];
      table_[c][v] = centred / spec.std[c];
    }
  }
}

void PixelTable::Normalize(int channel, const uint8_t* in, int64_t n, float* out) const {
  const std::array<float, 256>& values = table_[channel];
  for (int64_t i = 0; i < n; ++i) out[i] = values[in[i]];
}

}  // namespace embedd
