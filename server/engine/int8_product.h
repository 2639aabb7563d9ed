// SPDX-License-Identifier: Apache-2.0
//
// Int8Product: x W^T + b computed in bytes, a quarter of the memory traffic and several times the speed where
// the processor multiplies bytes itself. A weight has one scale for each output; the input has one fixed
// scale, learned from calibration pictures, and channels that are much larger than the others are scaled down
// on the way in and their weights up, which keeps one loud channel from drowning the rest (the idea of
// SmoothQuant, Xiao et al., arXiv:2211.10438). Part of LinearLayer. Sees LibTorch; throws what it throws.
//
// Bytes have eight bits where CpuMultipliesInt8. Elsewhere oneDNN adds pairs of products in 16 bits, which
// two large ones overflow: inputs then get seven bits, which is exact, slow, and for tests.

#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace embedd {

// Least and greatest value of each input channel of a layer over the calibration pictures. Kept while the
// model is offloaded, so in plain memory: LibTorch's allocator counts what the device holds.
struct InputRange {
  std::vector<float> least, greatest;

  // x f32 [..., in]
  void Observe(const at::Tensor& x);
};
using InputRanges = std::map<std::string, InputRange>;  // by the layer's name

// How inputs become bytes: round(x_j / (scale * spread_j)) + zero_point.
struct ByteCode {
  double scale = 1;
  int64_t zero_point = 0;
  std::vector<float> spread;  // of each channel; 1 but for the loud ones
};
// `even`: every spread is 1, as an input needs that the layer before writes as bytes itself.
ByteCode CodeFor(const InputRange& range, bool even);

class Int8Product {
 public:
  // weight f32 [out, in], bias f32 [out] or undefined. `next`: the code in which Activate gives its output,
  // or null for f32.
  Int8Product(const at::Tensor& weight, at::Tensor bias, const ByteCode& code, const ByteCode* next);

  // x [..., in], f32 or bytes of the code; f32 [..., out]
  at::Tensor Apply(const at::Tensor& x) const;
  // `activation` and `approximate` as oneDNN calls them: "swish", or "gelu" and "none" or "tanh".
  at::Tensor Activate(const at::Tensor& x, std::string_view activation, std::string_view approximate) const;
  // Writes into `sum`.
  at::Tensor AddTo(const at::Tensor& sum, const at::Tensor& x) const;

 private:
  at::Tensor Encode(const at::Tensor& x) const;

  const double scale_;
  const int64_t zero_point_;
  at::Tensor factor_;  // f32 [in]: 1 / (scale * spread)
  at::Tensor weight_;  // int8, oneDNN's layout
  at::Tensor weight_scale_, weight_zero_, bias_;
  bool to_bytes_ = false;
  double next_scale_ = 1;
  int64_t next_zero_point_ = 0;
};

}  // namespace embedd
