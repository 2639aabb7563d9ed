// SPDX-License-Identifier: Apache-2.0

#include "server/model/linear_layer.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/silu.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "server/model/cpu_features.h"
#include "server/support/clock.h"
#include "server/support/log.h"

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

std::optional<at::Tensor> Optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

}  // namespace

LinearLayer::LinearLayer(at::Tensor weight, at::Tensor bias, bool packed)
    : weight_(packed ? Pack(weight) : std::move(weight)), bias_(std::move(bias)), packed_(packed) {}

LinearLayer::LinearLayer(Int8Product product)
    : int8_(std::make_shared<const Int8Product>(std::move(product))) {}

at::Tensor LinearLayer::Apply(const at::Tensor& x) const {
  if (int8_ != nullptr) return int8_->Apply(x);
  if (range_ != nullptr) range_->Observe(x);
  if (packed_) return Ops().product->call(x, weight_, Optional(bias_), "none", Scalars(), std::nullopt);
  return at::linear(x, weight_, Optional(bias_));
}

at::Tensor LinearLayer::ApplyActivation(const at::Tensor& x, Activation activation) const {
  const bool quick = activation == Activation::kQuickGelu;
  const std::string_view approximate = activation == Activation::kGeluTanh ? "tanh" : "none";
  if (int8_ != nullptr) return int8_->Activate(x, quick ? "swish" : "gelu", quick ? "none" : approximate);
  if (packed_) {
    return quick ? Ops().product->call(x, weight_, Optional(bias_), "swish", Scalars(), std::nullopt)
                 : Ops().product->call(x, weight_, Optional(bias_), "gelu", Scalars(), approximate);
  }
  at::Tensor out = Apply(x);
  return quick ? at::silu_(out) : at::gelu_(out, approximate);
}

at::Tensor LinearLayer::ApplyAndAdd(const at::Tensor& x, const at::Tensor& sum) const {
  if (int8_ != nullptr) return int8_->AddTo(sum, x);
  if (packed_) return Ops().sum->call(x, sum, weight_, Optional(bias_), "add");
  at::Tensor out = sum;
  return out.add_(Apply(x));
}

bool CanPack(at::Device device, at::ScalarType dtype) {
  const bool type = dtype == at::kFloat || (dtype == at::kBFloat16 && CpuMultipliesBf16());
  return device.is_cpu() && type && Ops().pack.has_value();
}

namespace {

// Seconds of the products of one block over `rows` tokens; the fastest of a few runs, so that other load
// counts less.
class BlockTimer {
 public:
  BlockTimer(const VisionConfig& c, at::ScalarType dtype, bool packed)
      : width_(c.width),
        dtype_(dtype),
        in_proj_(Make(3 * c.width, c.width, packed)),
        out_proj_(Make(c.width, c.width, packed)),
        c_fc_(Make(c.mlp_width, c.width, packed)),
        c_proj_(Make(c.width, c.mlp_width, packed)) {}

  void Run(int64_t rows, double* best) const {
    const at::Tensor x = at::rand({rows, width_}).to(dtype_);
    const absl::Time start = Clock::Real()->TimeNow();
    in_proj_.Apply(x);
    const at::Tensor y = out_proj_.ApplyAndAdd(x, x.clone());
    c_proj_.ApplyAndAdd(c_fc_.ApplyActivation(y, Activation::kGelu), y);
    *best = std::min(*best, absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start));
  }

 private:
  LinearLayer Make(int64_t out, int64_t in, bool packed) const {
    return LinearLayer(at::rand({out, in}).to(dtype_), at::rand({out}).to(dtype_), packed);
  }

  const int64_t width_;
  const at::ScalarType dtype_;
  const LinearLayer in_proj_, out_proj_, c_fc_, c_proj_;
};

}  // namespace

bool PackingIsFaster(const VisionConfig& config, at::ScalarType dtype) {
  // Without AVX-512 the plain products were as fast or faster wherever it was measured: no need to ask, and
  // no risk that a busy moment answers.
  if (!CanPack(at::kCPU, dtype) || !CpuHasAny({"avx512_f"})) return false;
  const c10::InferenceMode no_gradients;
  const BlockTimer plain(config, dtype, false), packed(config, dtype, true);
  // One image, and enough rows to keep every core busy.
  const int64_t one = config.tokens(), many = std::max<int64_t>(400, one);
  double plain_one = 1e9, plain_many = 1e9, packed_one = 1e9, packed_many = 1e9;
  const absl::Time start = Clock::Real()->TimeNow();
  for (int round = 0; round < 4; ++round) {  // taking turns, so that a busy moment hits both
    plain.Run(one, &plain_one);
    packed.Run(one, &packed_one);
    plain.Run(many, &plain_many);
    packed.Run(many, &packed_many);
    if (round > 0 && Clock::Real()->TimeNow() - start > absl::Milliseconds(500)) break;
  }
  // Per row, a full batch counting as much as a single image.
  const double share = static_cast<double>(one) / static_cast<double>(many);
  const bool faster = packed_one + packed_many * share < plain_one + plain_many * share;
  LogInfo(faster ? "weights are packed for this processor"
                 : "weights stay plain: packing does not pay on this processor",
          {{"packed_over_plain_one_image", std::to_string(packed_one / plain_one)},
           {"packed_over_plain_full_batch", std::to_string(packed_many / plain_many)}});
  return faster;
}

}  // namespace embedd
