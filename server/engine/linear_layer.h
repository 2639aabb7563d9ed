// SPDX-License-Identifier: Apache-2.0
//
// LinearLayer: x W^T + b with the weight laid out for the processor (WeightLayout). Part of Encoder. Laid
// out weights are ordinary memory of LibTorch's allocator: counted, and freed with the layer. Sees LibTorch;
// throws what it throws.

#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "server/engine/int8_product.h"
#include "server/engine/panel_product.h"
#include "server/engine/weight_layout.h"
#include "server/model/tower_config.h"

namespace embedd {

// True when this LibTorch has oneDNN's products.
bool HasOneDnn();

class LinearLayer {
 public:
  LinearLayer() = default;
  // weight [out, in], bias [out] or undefined. A weight that does not divide into panels stays plain.
  LinearLayer(at::Tensor weight, at::Tensor bias, WeightLayout layout);
  // True when that copies `weight` into its layout, and keeps no reference to it.
  static bool LaysOut(const at::Tensor& weight, WeightLayout layout);

  // Computes in bytes.
  explicit LinearLayer(Int8Product product);
  // Notes in `range`, from now on, what goes in. It must outlive the layer.
  void Observe(InputRange* range) { range_ = range; }

  // x [..., in] -> [..., out]
  at::Tensor Apply(const at::Tensor& x) const;

  // The activation after the product. QuickGELU runs as silu: the caller has scaled this layer by
  // kQuickGeluScale, and scales the next one back.
  at::Tensor ApplyActivation(const at::Tensor& x, Activation activation) const;

  // activation(first half) * second half of the product's outputs. Not for QuickGELU.
  at::Tensor ApplyGated(const at::Tensor& x, Activation activation) const;

  // sum + x W^T + b. May write into `sum`, which must not be used afterwards.
  at::Tensor ApplyAndAdd(const at::Tensor& x, const at::Tensor& sum) const;

 private:
  at::Tensor weight_;  // plain [out, in], or oneDNN's
  at::Tensor bias_;
  bool packed_ = false;
  std::shared_ptr<const PanelProduct> panels_;  // instead of weight_
  std::shared_ptr<const Int8Product> int8_;     // instead of all of them
  InputRange* range_ = nullptr;
};

// x * sigmoid(1.702 x) is silu(1.702 x) / 1.702.
inline constexpr double kQuickGeluScale = 1.702;

}  // namespace embedd
