// SPDX-License-Identifier: Apache-2.0

#include "server/engine/vision_tower.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <string>
#include <utility>

#include "server/engine/attention.h"
#include "server/engine/patches.h"
#include "server/engine/weight_loader.h"

namespace embedd {

// Reads the tower's tensors by name, in the type and on the device of the options.
class VisionTower::Loader {
 public:
  Loader(const VisionWeights& weights, const Options& options) : weights_(weights), options_(options) {}

  at::Tensor Tensor(const std::string& name, double scale = 1) const {
    return LoadWeight(weights_.tensors.at(name), options_.device, options_.dtype, scale);
  }
  at::Tensor Float(const std::string& name) const {
    return LoadWeight(weights_.tensors.at(name), options_.device, at::kFloat);
  }
  Norm LoadNorm(const std::string& name) const { return {Float(name + ".weight"), Float(name + ".bias")}; }
  // `next`: the layer whose only input is this one's activated output, which in int8 is handed over in bytes.
  LinearLayer Layer(const std::string& name, at::Tensor weight, at::Tensor bias,
                    const std::string& next = "") const {
    if (options_.int8 != nullptr) {
      const ByteCode code = Code(name);
      if (next.empty()) return LinearLayer(Int8Product(weight, std::move(bias), code, nullptr));
      const ByteCode next_code = Code(next);
      return LinearLayer(Int8Product(weight, std::move(bias), code, &next_code));
    }
    LinearLayer layer(std::move(weight), std::move(bias), options_.layout);
    if (options_.observed != nullptr) layer.Observe(&(*options_.observed)[name]);
    return layer;
  }

  Block LoadBlock(const VisionConfig& config, int index) const {
    const std::string name = "transformer.resblocks." + std::to_string(index) + ".";
    const double scale = config.activation == Activation::kQuickGelu ? kQuickGeluScale : 1;
    Block block;
    block.ln_1 = LoadNorm(name + "ln_1");
    block.ln_2 = LoadNorm(name + "ln_2");
    block.class_token_only = index == config.layers - 1 && config.pool == Pool::kToken;
    const at::Tensor weight = Tensor(name + "attn.in_proj_weight"), bias = Tensor(name + "attn.in_proj_bias");
    if (block.class_token_only) {
      block.query = Layer(name + "query", weight.slice(0, 0, config.width).clone(),
                          bias.slice(0, 0, config.width).clone());
      block.key_value =
          KeyValueWeights(Float(name + "attn.in_proj_weight").slice(0, config.width),
                          Float(name + "attn.in_proj_bias").slice(0, config.width), config.heads);
    } else {
      block.qkv = Layer(name + "qkv", weight, bias);
    }
    block.out_proj =
        Layer(name + "out_proj", Tensor(name + "attn.out_proj.weight"), Tensor(name + "attn.out_proj.bias"));
    block.c_fc = Layer(name + "c_fc", Tensor(name + "mlp.c_fc.weight", scale),
                       Tensor(name + "mlp.c_fc.bias", scale), name + "c_proj");
    block.c_proj = Layer(name + "c_proj", Tensor(name + "mlp.c_proj.weight", 1 / scale),
                         Tensor(name + "mlp.c_proj.bias"));
    if (config.layer_scale) {
      block.ls_1 = Tensor(name + "ls_1.gamma");
      block.ls_2 = Tensor(name + "ls_2.gamma");
    }
    return block;
  }

 private:
  ByteCode Code(const std::string& name) const {
    return CodeFor(options_.int8->at(name), /*even=*/name.ends_with("c_proj"));
  }

  const VisionWeights& weights_;
  const Options& options_;
};

namespace {

// Patches are made and multiplied for so many images at a time: at 224x224 they take 10 MB in f32, and there
// are enough rows for the product to run at its best.
constexpr int64_t kPatchImages = 16;

// x + gamma * (layer(y)); gamma is undefined without layer scale. Writes into x.
at::Tensor AddResidual(const at::Tensor& x, const LinearLayer& layer, const at::Tensor& y,
                       const at::Tensor& gamma) {
  if (!gamma.defined()) return layer.ApplyAndAdd(y, x);
  at::Tensor sum = x;
  return sum.add_(layer.Apply(y).mul_(gamma));
}

}  // namespace

VisionTower::VisionTower(const VisionConfig& config, const VisionWeights& weights, const Options& options)
    : config_(config), options_(options) {
  const Loader loader(weights, options_);
  conv1_ = loader.Layer("conv1", loader.Tensor("conv1.weight").flatten(1), at::Tensor());
  class_embedding_ = loader.Tensor("class_embedding");
  positional_embedding_ = loader.Tensor("positional_embedding");
  if (config.ln_pre) ln_pre_ = loader.LoadNorm("ln_pre");
  ln_post_ = loader.LoadNorm("ln_post");
  proj_ = loader.Tensor("proj");
  for (int i = 0; i < config.layers; ++i) blocks_.push_back(loader.LoadBlock(config, i));
}

at::Tensor VisionTower::Forward(const at::Tensor& pixels) const {
  return Transform(Embed(UnfoldPatches(pixels, config_.patch)));
}

at::Tensor VisionTower::Forward(int64_t n, PatchSource patches) const {
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < n; first += kPatchImages) {
    parts.push_back(Embed(patches(first, std::min(kPatchImages, n - first))));
  }
  at::Tensor x = parts.size() == 1 ? std::move(parts[0]) : at::cat(parts);
  parts.clear();
  return Transform(std::move(x));
}

// [n, rows * columns, 3 * p * p] -> [n, tokens, width]. The patches lie side by side, so the convolution is
// one product over them.
at::Tensor VisionTower::Embed(const at::Tensor& patches) const {
  const int64_t n = patches.size(0);
  at::Tensor x = at::cat({class_embedding_.expand({n, 1, config_.width}), conv1_.Apply(patches)}, 1);
  x.add_(positional_embedding_);
  return config_.ln_pre ? Normalize(ln_pre_, x) : x;
}

// [n, tokens, width] -> float32 [n, embed_dim]
at::Tensor VisionTower::Transform(at::Tensor x) const {
  for (const Block& block : blocks_) {
    const at::Tensor attended = Attend(block, Normalize(block.ln_1, x));
    if (block.class_token_only) x = x.slice(1, 0, 1).contiguous();
    x = AddResidual(x, block.out_proj, attended, block.ls_1);
    const at::Tensor hidden = block.c_fc.ApplyActivation(Normalize(block.ln_2, x), config_.activation);
    x = AddResidual(x, block.c_proj, hidden, block.ls_2);
  }
  return at::matmul(PoolTokens(x), proj_).to(at::kFloat);
}

at::Tensor VisionTower::Normalize(const Norm& norm, const at::Tensor& x) const {
  return at::layer_norm(x.to(at::kFloat), {config_.width}, norm.weight, norm.bias, config_.eps)
      .to(options_.dtype);
}

// [n, tokens, width] -> [n, tokens, width], or [n, 1, width] in a class-token block; before out_proj.
at::Tensor VisionTower::Attend(const Block& block, const at::Tensor& x) const {
  if (block.class_token_only) {
    const at::Tensor query = block.query.Apply(x.slice(1, 0, 1).contiguous());
    return OneQueryAttention(query, x, block.key_value);
  }
  const std::vector<at::Tensor> qkv = block.qkv.Apply(x).chunk(3, -1);
  return Attention(qkv[0], qkv[1], qkv[2], config_.heads);
}

// [n, tokens, width] -> [n, width]. Normalising one token or all of them is the same for that token.
at::Tensor VisionTower::PoolTokens(const at::Tensor& x) const {
  if (config_.pool == Pool::kToken) return Normalize(ln_post_, x.select(1, 0));
  const at::Tensor patches = x.slice(1, 1);
  return config_.final_ln_after_pool ? Normalize(ln_post_, patches.mean(1))
                                     : Normalize(ln_post_, patches).mean(1);
}

}  // namespace embedd
