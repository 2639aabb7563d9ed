// SPDX-License-Identifier: Apache-2.0

#include "server/engine/linear_layer.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/silu.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "server/engine/parallel_for.h"

namespace embedd {
namespace {

// oneDNN's products are operators of LibTorch without a C++ header: they are looked up by name.
using Scalars = c10::List<std::optional<at::Scalar>>;
using PackFunction = at::Tensor(const at::Tensor&, std::optional<c10::SymInt>);
using ProductFunction = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                   std::string_view, Scalars, std::optional<std::string_view>);
using SumFunction = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                               const std::optional<at::Tensor>&, std::string_view);

struct OneDnn {
  std::optional<c10::TypedOperatorHandle<PackFunction>> pack;
  std::optional<c10::TypedOperatorHandle<ProductFunction>> product;
  std::optional<c10::TypedOperatorHandle<SumFunction>> sum;
};

const OneDnn& Ops() {
  static const auto* const kOps = [] {
    auto* ops = new OneDnn;
    auto& dispatcher = c10::Dispatcher::singleton();
    const auto pack = dispatcher.findSchema({"mkldnn::_reorder_linear_weight", ""});
    const auto product = dispatcher.findSchema({"mkldnn::_linear_pointwise", ""});
    const auto sum = dispatcher.findSchema({"mkldnn::_linear_pointwise", "binary"});
    if (pack && product && sum) {
      ops->pack = pack->typed<PackFunction>();
      ops->product = product->typed<ProductFunction>();
      ops->sum = sum->typed<SumFunction>();
    }
    return ops;
  }();
  return *kOps;
}

at::Tensor Pack(const at::Tensor& weight) {
  static const std::optional<c10::SymInt> kAnyRows;  // a temporary makes GCC 12 warn at -O3
  return Ops().pack->call(weight, kAnyRows);
}

// LibTorch's tanh took a sixteenth of a batch of SigLIP, this takes half of that.
void GeluTanh(const at::Tensor& x, const PanelKernel& kernel) {
  constexpr int64_t kPiece = 8192;
  float* const data = x.mutable_data_ptr<float>();
  const int64_t count = x.numel();
  ParallelFor(DivideUp(count, kPiece), 1, [&](int64_t begin, int64_t end) {
    kernel.gelu_tanh(data + begin * kPiece, std::min(end * kPiece, count) - begin * kPiece);
  });
}

std::optional<at::Tensor> Optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

}  // namespace

LinearLayer::LinearLayer(at::Tensor weight, at::Tensor bias, WeightLayout layout) : bias_(std::move(bias)) {
  if (layout == WeightLayout::kPanels) {
    if (const PanelKernel* kernel = PanelProduct::KernelFor(weight)) {
      panels_ = std::make_shared<const PanelProduct>(weight, *kernel);
      return;
    }
  }
  packed_ = layout == WeightLayout::kOneDnn;
  weight_ = packed_ ? Pack(weight) : std::move(weight);
}

bool LinearLayer::LaysOut(const at::Tensor& weight, WeightLayout layout) {
  return layout == WeightLayout::kPanels && PanelProduct::KernelFor(weight) != nullptr;
}

LinearLayer::LinearLayer(Int8Product product)
    : int8_(std::make_shared<const Int8Product>(std::move(product))) {}

at::Tensor LinearLayer::Apply(const at::Tensor& x) const {
  if (int8_ != nullptr) return int8_->Apply(x);
  if (range_ != nullptr) range_->Observe(x);
  if (panels_ != nullptr) return panels_->Apply(x, bias_);
  if (packed_) return Ops().product->call(x, weight_, Optional(bias_), "none", Scalars(), std::nullopt);
  return at::linear(x, weight_, Optional(bias_));
}

at::Tensor LinearLayer::ApplyActivation(const at::Tensor& x, Activation activation) const {
  const bool swish = activation == Activation::kQuickGelu || activation == Activation::kSilu;
  const std::string_view approximate = activation == Activation::kGeluTanh ? "tanh" : "none";
  if (int8_ != nullptr) return int8_->Activate(x, swish ? "swish" : "gelu", swish ? "none" : approximate);
  if (packed_) {
    return swish ? Ops().product->call(x, weight_, Optional(bias_), "swish", Scalars(), std::nullopt)
                 : Ops().product->call(x, weight_, Optional(bias_), "gelu", Scalars(), approximate);
  }
  at::Tensor out = Apply(x);
  if (panels_ != nullptr && activation == Activation::kGeluTanh) {
    GeluTanh(out, panels_->kernel());
    return out;
  }
  return swish ? at::silu_(out) : at::gelu_(out, approximate);
}

at::Tensor LinearLayer::ApplyGated(const at::Tensor& x, Activation activation) const {
  const at::Tensor both = Apply(x);
  const int64_t half = both.size(-1) / 2;
  const at::Tensor gate = both.narrow(-1, 0, half);
  at::Tensor out = activation == Activation::kSilu
                       ? at::silu(gate)
                       : at::gelu(gate, activation == Activation::kGeluTanh ? "tanh" : "none");
  return out.mul_(both.narrow(-1, half, half)).contiguous();
}

at::Tensor LinearLayer::ApplyAndAdd(const at::Tensor& x, const at::Tensor& sum) const {
  if (int8_ != nullptr) return int8_->AddTo(sum, x);
  if (packed_) return Ops().sum->call(x, sum, weight_, Optional(bias_), "add");
  at::Tensor out = sum;
  if (panels_ == nullptr || !out.is_contiguous()) return out.add_(Apply(x));
  panels_->AddTo(out, x, bias_);
  return out;
}

bool HasOneDnn() { return Ops().pack.has_value(); }

}  // namespace embedd
