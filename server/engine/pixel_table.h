// SPDX-License-Identifier: Apache-2.0
//
// PixelTable: turns the uint8 input of the image tower into floats, (v/255 - mean) / std, bit for bit what
// torchvision's ToTensor and Normalize compute: 3 x 256 values, each made with the same float operations in
// the same order; where AVX2 or AVX-512 computes them faster than a table is read, and to the same bits, it
// does. Used by TorchExecutor on the cpu device. Thread-safe after construction. No LibTorch.

#pragma once

#include <array>
#include <cstdint>

#include "server/model/model_spec.h"

namespace embedd {

class PixelTable {
 public:
  explicit PixelTable(const ImageSpec& spec);

  // True when AVX2 or AVX-512 computes the values.
  bool vectorized() const { return vectorized_; }

  // `count` pieces of n values, which lie side by side in `in` and out_stride apart in `out`.
  struct Pieces {
    const uint8_t* in;
    int64_t n;
    int64_t count;
    float* out;
    int64_t out_stride;
  };
  // Writes the normalised values of channel 0, 1 or 2.
  void Normalize(int channel, const Pieces& pieces) const;
  void Normalize(int channel, const uint8_t* in, int64_t n, float* out) const {
    Normalize(channel, {in, n, 1, out, n});
  }

 private:
  std::array<float, 3> mean_, std_;
  bool vectorized_;
  std::array<std::array<float, 256>, 3> table_;
};

}  // namespace embedd
