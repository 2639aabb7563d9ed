// SPDX-License-Identifier: Apache-2.0

#include "server/model/vision_tower.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>

#include <string>

#include "server/model/weight_loader.h"

namespace embedd {

VisionTower::VisionTower(const VisionConfig& config, const VisionWeights& weights, const Options& options)
    : config_(config), options_(options) {
  const auto load = [&](const std::string& name) {
    return LoadWeight(weights.tensors.at(name), options.device, options.dtype);
  };
  const auto load_norm = [&](const std::string& name) {
    return Norm{LoadWeight(weights.tensors.at(name + ".weight"), options.device, at::kFloat),
                LoadWeight(weights.tensors.at(name + ".bias"), options.device, at::kFloat)};
  };
  const auto load_linear = [&](const std::string& name) {
    return Linear{load(name + ".weight"), load(name + ".bias")};
  };
  conv1_ = load("conv1.weight");
  class_embedding_ = load("class_embedding");
  positional_embedding_ = load("positional_embedding");
  if (config.ln_pre) ln_pre_ = load_norm("ln_pre");
  ln_post_ = load_norm("ln_post");
  proj_ = load("proj");
  for (int i = 0; i < config.layers; ++i) {
    const std::string name = "transformer.resblocks." + std::to_string(i) + ".";
    Block block;
    block.ln_1 = load_norm(name + "ln_1");
    block.ln_2 = load_norm(name + "ln_2");
    block.in_proj = Linear{load(name + "attn.in_proj_weight"), load(name + "attn.in_proj_bias")};
    block.out_proj = load_linear(name + "attn.out_proj");
    block.c_fc = load_linear(name + "mlp.c_fc");
    block.c_proj = load_linear(name + "mlp.c_proj");
    if (config.layer_scale) {
      block.ls_1 = load(name + "ls_1.gamma");
      block.ls_2 = load(name + "ls_2.gamma");
    }
    blocks_.push_back(std::move(block));
  }
}

at::Tensor VisionTower::Forward(const at::Tensor& pixels) const {
  at::Tensor x = Embed(pixels);
  for (const Block& block : blocks_) {
    x = x + Attention(block, Normalize(block.ln_1, x));
    x = x + Mlp(block, Normalize(block.ln_2, x));
  }
  return at::matmul(PoolTokens(x), proj_).to(at::kFloat);
}

// [n, 3, h, w] -> [n, tokens, width]
at::Tensor VisionTower::Embed(const at::Tensor& pixels) const {
  const int64_t n = pixels.size(0);
  const at::Tensor patches = at::conv2d(pixels, conv1_, {}, config_.patch).flatten(2).transpose(1, 2);
  const at::Tensor class_token = class_embedding_.expand({n, 1, config_.width});
  const at::Tensor x = at::cat({class_token, patches}, 1) + positional_embedding_;
  return config_.ln_pre ? Normalize(ln_pre_, x) : x;
}

at::Tensor VisionTower::Normalize(const Norm& norm, const at::Tensor& x) const {
  return at::layer_norm(x.to(at::kFloat), {config_.width}, norm.weight, norm.bias, config_.eps).to(options_.dtype);
}

at::Tensor VisionTower::Attention(const Block& block, const at::Tensor& x) const {
  const int64_t n = x.size(0), tokens = x.size(1);
  const at::Tensor qkv = at::linear(x, block.in_proj.weight, block.in_proj.bias)
                             .view({n, tokens, 3, config_.heads, config_.head_dim()})
                             .permute({2, 0, 3, 1, 4});  // [3, n, heads, tokens, head_dim]
  const at::Tensor heads = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  const at::Tensor joined = heads.transpose(1, 2).reshape({n, tokens, config_.width});
  const at::Tensor out = at::linear(joined, block.out_proj.weight, block.out_proj.bias);
  return block.ls_1.defined() ? out * block.ls_1 : out;
}

at::Tensor VisionTower::Mlp(const Block& block, const at::Tensor& x) const {
  at::Tensor hidden = at::linear(x, block.c_fc.weight, block.c_fc.bias);
  switch (config_.activation) {
    case Activation::kGelu:
      hidden = at::gelu(hidden);
      break;
    case Activation::kGeluTanh:
      hidden = at::gelu(hidden, "tanh");
      break;
    case Activation::kQuickGelu:
      hidden = hidden * at::sigmoid(1.702 * hidden);
      break;
  }
  const at::Tensor out = at::linear(hidden, block.c_proj.weight, block.c_proj.bias);
  return block.ls_2.defined() ? out * block.ls_2 : out;
}

// [n, tokens, width] -> [n, width]. Normalising one token or all of them is the same for that token.
at::Tensor VisionTower::PoolTokens(const at::Tensor& x) const {
  if (config_.pool == Pool::kToken) return Normalize(ln_post_, x.select(1, 0));
  const at::Tensor patches = x.slice(1, 1);
  return config_.final_ln_after_pool ? Normalize(ln_post_, patches.mean(1)) : Normalize(ln_post_, patches).mean(1);
}

}  // namespace embedd
