// SPDX-License-Identifier: Apache-2.0
//
// PixelTable: turns the uint8 input of the image tower into floats, (v/255 - mean) / std, bit for bit what
// torchvision's ToTensor and Normalize compute: 3 x 256 values, each made with the same float operations in
// the same order. Used by TorchExecutor on the cpu device. Thread-safe after construction. No LibTorch.

#pragma once

#include <array>
#include <cstdint>

#include "server/model/model_spec.h"

namespace embedd {

class PixelTable {
 public:
  explicit PixelTable(const ImageSpec& spec);

  // Writes `n` normalised values of channel 0, 1 or 2.
  void Normalize(int channel, const uint8_t* in, int64_t n, float* out) const;

 private:
  std::array<std::array<float, 256>, 3> table_;
};

}  // namespace embedd
