// SPDX-License-Identifier: Apache-2.0

#include "tests/support/towers.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "server/engine/attention.h"
#include "server/engine/encoder.h"
#include "server/engine/layout_choice.h"
#include "server/engine/panel_product.h"
#include "server/engine/rope.h"
#include "server/engine/weight_loader.h"

namespace embedd {
namespace {

at::Tensor View(const TowerConfig& config, int n, const std::vector<float>& pixels) {
  return at::from_blob(const_cast<float*>(pixels.data()), {n, 3, config.image_height, config.image_width},
                       at::kFloat);
}

at::Tensor Copy(const std::vector<float>& values, at::IntArrayRef sizes) {
  return at::from_blob(const_cast<float*>(values.data()), sizes, at::kFloat).clone();
}

std::vector<float> Values(const at::Tensor& rows) {
  const at::Tensor flat = rows.contiguous();
  return std::vector<float>(flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel());
}

}  // namespace

struct PlainTower::Impl {
  TowerConfig config;
  std::map<std::string, at::Tensor> w;

  at::Tensor Norm(const std::string& name, const at::Tensor& x) const {
    return at::layer_norm(x, {config.width}, w.at(name + ".weight"), w.at(name + ".bias"), config.eps);
  }
  at::Tensor Linear(const std::string& name, const at::Tensor& x) const {
    return at::linear(x, w.at(name + ".weight"), w.at(name + ".bias"));
  }
  at::Tensor Scale(const std::string& name, const at::Tensor& x) const {
    return config.layer_scale ? x * w.at(name) : x;
  }
  at::Tensor Activate(const at::Tensor& x) const {
    if (config.activation == Activation::kQuickGelu) return x * at::sigmoid(1.702 * x);
    return at::gelu(x, config.activation == Activation::kGeluTanh ? "tanh" : "none");
  }

  at::Tensor Attention(const std::string& block, const at::Tensor& x) const {
    const int64_t n = x.size(0), tokens = x.size(1);
    at::Tensor qkv = at::linear(x, w.at(block + ".attn.in_proj_weight"), w.at(block + ".attn.in_proj_bias"));
    qkv = qkv.view({n, tokens, 3, config.heads, config.head_dim()}).permute({2, 0, 3, 1, 4});
    const at::Tensor y = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
    return Linear(block + ".attn.out_proj", y.transpose(1, 2).reshape({n, tokens, config.width}));
  }

  at::Tensor Pool(const at::Tensor& x) const {
    if (config.pool == Pool::kToken) return Norm("ln_post", x).select(1, 0);
    if (config.final_ln_after_pool) return Norm("ln_post", x.slice(1, 1).mean(1));
    return Norm("ln_post", x).slice(1, 1).mean(1);
  }

  at::Tensor Forward(const at::Tensor& pixels) const {
    at::Tensor x = at::conv2d(pixels, w.at("conv1.weight"), {}, config.patch).flatten(2).transpose(1, 2);
    const at::Tensor cls = w.at("class_embedding").expand({x.size(0), 1, config.width});
    x = at::cat({cls, x}, 1) + w.at("positional_embedding");
    if (config.ln_pre) x = Norm("ln_pre", x);
    for (int i = 0; i < config.layers; ++i) {
      const std::string block = absl::StrCat("transformer.resblocks.", i);
      x = x + Scale(block + ".ls_1.gamma", Attention(block, Norm(block + ".ln_1", x)));
      const at::Tensor hidden = Activate(Linear(block + ".mlp.c_fc", Norm(block + ".ln_2", x)));
      x = x + Scale(block + ".ls_2.gamma", Linear(block + ".mlp.c_proj", hidden));
    }
    return at::matmul(Pool(x), w.at("proj"));
  }
};

PlainTower::PlainTower(const ModelFolder& model) : impl_(std::make_unique<Impl>()) {
  impl_->config = model.vision;
  for (const auto& [name, source] : model.weights.tensors) {
    impl_->w[name] = LoadWeight(source, at::kCPU, at::kFloat);
  }
}

PlainTower::~PlainTower() = default;

std::vector<float> PlainTower::Run(int n, const std::vector<float>& pixels) const {
  const c10::InferenceMode no_gradients;
  return Values(impl_->Forward(View(impl_->config, n, pixels)));
}

std::vector<float> RunEncoder(const ModelFolder& model, int n, const std::vector<float>& pixels,
                              WeightLayout layout, const std::function<void()>& once_loaded) {
  const c10::InferenceMode no_gradients;
  const Encoder tower(model.vision, model.weights, Encoder::Options{at::kCPU, at::kFloat, layout});
  if (once_loaded) once_loaded();
  return Values(tower.Forward(View(model.vision, n, pixels)));
}

std::vector<float> RunHalfEncoder(const ModelFolder& model, int n, const std::vector<float>& pixels,
                                  bool norms_in_dtype) {
  const c10::InferenceMode no_gradients;
  Encoder::Options options{at::kCPU, at::kHalf};
  options.norms_in_dtype = norms_in_dtype;
  const Encoder tower(model.vision, model.weights, options);
  return Values(tower.Forward(View(model.vision, n, pixels).to(at::kHalf)));
}

void UseTorchThreads(int count) { at::set_num_threads(count); }

std::vector<WeightLayout> UsableLayouts() {
  std::vector<WeightLayout> usable;
  for (const WeightLayout layout : {WeightLayout::kPlain, WeightLayout::kOneDnn, WeightLayout::kPanels}) {
    if (CanUse(layout, at::kCPU, at::kFloat)) usable.push_back(layout);
  }
  return usable;
}

std::vector<float> RunPanelProduct(const PanelKernel& kernel, int rows, int in, int out,
                                   const std::vector<float>& x, const std::vector<float>& w,
                                   const std::vector<float>& bias, const std::vector<float>& sum) {
  const c10::InferenceMode no_gradients;
  const PanelProduct product(Copy(w, {out, in}), kernel);
  const at::Tensor offset = bias.empty() ? at::Tensor() : Copy(bias, {out});
  if (sum.empty()) return Values(product.Apply(Copy(x, {rows, in}), offset));
  const at::Tensor total = Copy(sum, {rows, out});
  product.AddTo(total, Copy(x, {rows, in}), offset);
  return Values(total);
}

std::vector<float> RunAttention(int n, int queries, int tokens, int width, int heads,
                                const std::vector<float>& query, const std::vector<float>& key_value,
                                bool causal, const std::vector<int64_t>& own) {
  const c10::InferenceMode no_gradients;
  const std::vector<at::Tensor> kv = Copy(key_value, {n, tokens, 2 * width}).chunk(2, -1);
  const OwnTokens counts = own.empty() ? OwnTokens() : OwnTokens(own, tokens, at::kCPU);
  return Values(Attention(Copy(query, {n, queries, width}), kv[0], kv[1], heads, causal, counts));
}

std::vector<float> RunOneQueryAttention(int n, int tokens, int width, int heads,
                                        const std::vector<float>& query, const std::vector<float>& x,
                                        const std::vector<float>& weight, const std::vector<float>& bias) {
  const c10::InferenceMode no_gradients;
  return Values(
      OneQueryAttention(Copy(query, {n, 1, width}), Copy(x, {n, tokens, width}),
                        KeyValueWeights(Copy(weight, {2 * width, width}), Copy(bias, {2 * width}), heads)));
}

std::vector<float> TurnByRope(const TowerConfig& config, int n, const std::vector<float>& x, bool in_bf16) {
  const c10::InferenceMode no_gradients;
  const RotaryPositions rope(config, at::kCPU);
  const at::Tensor rows = Copy(x, {n, config.tokens(), config.width});
  return Values(rope.Turn(in_bf16 ? rows.to(at::kBFloat16) : rows).to(at::kFloat));
}

std::vector<float> NoisePixels(const TowerConfig& config, int n) {
  std::vector<float> pixels(size_t{3} * n * config.image_height * config.image_width);
  uint32_t state = 1;
  for (float& pixel : pixels) {
    state = state * 1664525u + 1013904223u;
    pixel = static_cast<float>(state >> 8) * 0x1p-22f - 2.0f;
  }
  return pixels;
}

double LargestUnitDifference(const std::vector<float>& a, const std::vector<float>& b, int dimension) {
  double largest = a.size() == b.size() ? 0 : 1e9;
  for (size_t row = 0; row + dimension <= std::min(a.size(), b.size()); row += dimension) {
    double aa = 0, bb = 0;
    for (int i = 0; i < dimension; ++i) {
      aa += double{a[row + i]} * a[row + i];
      bb += double{b[row + i]} * b[row + i];
    }
    for (int i = 0; i < dimension; ++i) {
      const double difference = std::abs(a[row + i] / std::sqrt(aa) - b[row + i] / std::sqrt(bb));
      largest = difference <= largest ? largest : difference;  // a NaN comes out as the largest
    }
  }
  return largest;
}

}  // namespace embedd
