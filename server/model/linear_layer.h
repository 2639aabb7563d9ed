// SPDX-License-Identifier: Apache-2.0
//
// LinearLayer: x W^T + b with the weight laid out for the processor. Part of VisionTower. A packed layer
// keeps its weight in oneDNN's blocked layout instead of the plain one, so the product need not rearrange it
// each time, and runs the activation or the sum in the same kernel. Packed weights are ordinary memory of
// LibTorch's allocator: counted, and freed with the layer. Sees LibTorch; throws what it throws.

#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "server/model/int8_product.h"
#include "server/model/vision_config.h"

namespace embedd {

// True when this LibTorch and this processor have the packed products: on cpu, for f32 and, in hardware only,
// for bf16.
bool CanPack(at::Device device, at::ScalarType dtype);

// Whether packed weights make the tower faster here. False without AVX-512, where they lose up to an eighth
// (AMD Zen 3); with it they gain about a quarter on most machines, and one block of a tower of this shape is
// measured both ways, for one image and for a full batch, to be sure. That takes some tens of milliseconds,
// under two seconds for the largest towers. Call it with the thread count of the executor.
bool PackingIsFaster(const VisionConfig& config, at::ScalarType dtype);

class LinearLayer {
 public:
  LinearLayer() = default;
  // weight [out, in], bias [out] or undefined.
  LinearLayer(at::Tensor weight, at::Tensor bias, bool packed);

  // Computes in bytes.
  explicit LinearLayer(Int8Product product);
  // Notes in `range`, from now on, what goes in. It must outlive the layer.
  void Observe(InputRange* range) { range_ = range; }

  // x [..., in] -> [..., out]
  at::Tensor Apply(const at::Tensor& x) const;

  // The activation after the product. QuickGELU runs as silu: the caller has scaled this layer by
  // kQuickGeluScale, and scales the next one back.
  at::Tensor ApplyActivation(const at::Tensor& x, Activation activation) const;

  // sum + x W^T + b. May write into `sum`, which must not be used afterwards.
  at::Tensor ApplyAndAdd(const at::Tensor& x, const at::Tensor& sum) const;

 private:
  at::Tensor weight_;  // plain [out, in], or oneDNN's
  at::Tensor bias_;
  bool packed_ = false;
  std::shared_ptr<const Int8Product> int8_;  // instead of the above
  InputRange* range_ = nullptr;
};

// x * sigmoid(1.702 x) is silu(1.702 x) / 1.702.
inline constexpr double kQuickGeluScale = 1.702;

}  // namespace embedd
