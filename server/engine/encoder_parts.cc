// SPDX-License-Identifier: Apache-2.0

#include "server/engine/encoder_parts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/upsample_bicubic2d.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <string>
#include <utility>

#include "server/engine/weight_loader.h"

namespace embedd {
namespace {

constexpr double kBatchNormEps = 1e-5;

// Reads the tower's tensors by name, in the type and on the device of the options.
class Loader {
 public:
  Loader(const TowerConfig& config, const TowerWeights& weights, const EncoderOptions& options)
      : config_(config), weights_(weights), options_(options) {}

  bool Has(const std::string& name) const { return weights_.tensors.count(name) != 0; }
  at::Tensor Tensor(const std::string& name, double scale = 1) const {
    return LoadWeight(weights_.tensors.at(name), options_.device, options_.dtype, scale);
  }
  // The weight of a layer [out, in]. What is laid out anew is read where it lies in the file: a copy of all
  // weights first would take as long as laying them out.
  at::Tensor Matrix(const std::string& name, double scale = 1) const {
    if (options_.int8 == nullptr && options_.device.is_cpu()) {
      at::Tensor weight = ViewWeight(weights_.tensors.at(name), options_.dtype, scale).flatten(1);
      if (LinearLayer::LaysOut(weight, options_.layout)) return weight;
    }
    return Tensor(name, scale).flatten(1);
  }
  at::Tensor Optional(const std::string& name, double scale = 1) const {
    return Has(name) ? Tensor(name, scale) : at::Tensor();
  }
  at::Tensor Float(const std::string& name) const {
    return LoadWeight(weights_.tensors.at(name), options_.device, at::kFloat);
  }
  at::Tensor OnCpu(const std::string& name) const {
    return LoadWeight(weights_.tensors.at(name), at::kCPU, at::kFloat);
  }
  at::Tensor ToDevice(const at::Tensor& f32) const {
    return f32.to(options_.dtype).contiguous().to(options_.device, /*non_blocking=*/false);
  }
  NormPart LoadNorm(const std::string& name) const {
    if (!Has(name + ".weight")) return {};
    if (options_.norms_in_dtype) return {Tensor(name + ".weight"), Tensor(name + ".bias")};
    return {Float(name + ".weight"), Float(name + ".bias")};
  }

  // `next`: the layer whose only input is this one's activated output, which in int8 is handed over in bytes.
  // `even`: this one's input is handed over so. `exact`: not in int8.
  LinearLayer Layer(const std::string& name, at::Tensor weight, at::Tensor bias, const std::string& next = "",
                    bool even = false, bool exact = false) const {
    if (options_.int8 != nullptr && !exact) {
      const ByteCode code = CodeFor(options_.int8->at(name), even);
      if (next.empty()) return LinearLayer(Int8Product(weight, std::move(bias), code, nullptr));
      const ByteCode next_code = CodeFor(options_.int8->at(next), /*even=*/true);
      return LinearLayer(Int8Product(weight, std::move(bias), code, &next_code));
    }
    LinearLayer layer(std::move(weight), std::move(bias), options_.layout);
    if (options_.observed != nullptr) layer.Observe(&(*options_.observed)[name]);
    return layer;
  }

  EncoderBlock LoadBlock(int index) const {
    const std::string name = "transformer.resblocks." + std::to_string(index) + ".";
    EncoderBlock block;
    block.ln_1 = LoadNorm(name + "ln_1");
    block.ln_2 = LoadNorm(name + "ln_2");
    block.attention_norm = LoadNorm(name + "attn.norm");
    block.mlp_norm = LoadNorm(name + "mlp.norm");
    block.one_query =
        index == config_.layers - 1 && (config_.pool == Pool::kToken || config_.pool == Pool::kPosition);
    LoadAttention(name, &block);
    block.out_proj =
        Layer(name + "out_proj", Matrix(name + "attn.out_proj.weight"), Tensor(name + "attn.out_proj.bias"));
    const double scale =
        config_.activation == Activation::kQuickGelu && !config_.gated_mlp ? kQuickGeluScale : 1;
    LoadMlp(name + "mlp.", name, scale, config_.gated_mlp || config_.mlp_norm, &block.c_fc, &block.c_proj);
    if (config_.layer_scale) {
      block.ls_1 = Tensor(name + "ls_1.gamma");
      block.ls_2 = Tensor(name + "ls_2.gamma");
    }
    return block;
  }

  AttentionPool LoadPool() const {
    AttentionPool pool;
    const int64_t w = config_.width, heads = config_.pool_heads;
    const at::Tensor weight = OnCpu("pool.in_proj_weight"), bias = OnCpu("pool.in_proj_bias");
    const at::Tensor query =
        at::linear(OnCpu("pool.query").unsqueeze(0), weight.slice(0, 0, w), bias.slice(0, 0, w));
    KeyValueWeights key_value(weight.slice(0, w), bias.slice(0, w), heads);
    pool.asked = at::bmm(query.view({heads, 1, w / heads}), key_value.key)
                     .squeeze(1)
                     .mul_(1 / std::sqrt(static_cast<double>(w) / heads))
                     .to(options_.device, /*non_blocking=*/false);
    key_value.key = at::Tensor();
    key_value.value = key_value.value.to(options_.device, /*non_blocking=*/false);
    key_value.value_bias = key_value.value_bias.to(options_.device, /*non_blocking=*/false);
    pool.key_value = std::move(key_value);
    pool.out_proj = Layer("pool.out_proj", Matrix("pool.out_proj.weight"), Tensor("pool.out_proj.bias"));
    pool.ln = LoadNorm("pool.ln");
    const double scale = config_.activation == Activation::kQuickGelu ? kQuickGeluScale : 1;
    LoadMlp("pool.", "pool.", scale, /*apart=*/false, &pool.c_fc, &pool.c_proj);
    return pool;
  }

  std::vector<LinearLayer> LoadStem() const {
    if (config_.stem == Stem::kWords) return {};
    std::vector<LinearLayer> stem;
    if (config_.stem != Stem::kSteps) {
      at::Tensor weight = Matrix("conv1.weight");
      if (config_.stem == Stem::kPixels) {  // brought into the order of the other kind
        const int64_t p = config_.patch;
        weight = weight.view({config_.width, p, p, 3}).permute({0, 3, 1, 2}).flatten(1).contiguous();
      }
      stem.push_back(Layer("conv1", weight, Optional("conv1.bias")));
      return stem;
    }
    for (const char* step : {"stem.0", "stem.1"}) {  // with what BatchNorm does folded in
      const std::string name = step;
      const at::Tensor factor =
          OnCpu(name + ".bn.weight") * (OnCpu(name + ".bn.running_var") + kBatchNormEps).rsqrt();
      const at::Tensor weight = OnCpu(name + ".weight").flatten(1) * factor.unsqueeze(1);
      const at::Tensor bias = OnCpu(name + ".bn.bias") - OnCpu(name + ".bn.running_mean") * factor;
      stem.push_back(Layer(name, ToDevice(weight), ToDevice(bias)));
    }
    stem.push_back(Layer("stem.2", Matrix("stem.2.weight"), Tensor("stem.2.bias")));
    return stem;
  }

  at::Tensor LoadPrefix() const {
    std::vector<at::Tensor> tokens;
    if (Has("class_embedding")) tokens.push_back(Tensor("class_embedding").unsqueeze(0));
    if (Has("registers")) tokens.push_back(Tensor("registers"));
    return tokens.empty() ? at::Tensor() : at::cat(tokens);
  }

  at::Tensor LoadPositions() const {
    if (!Has("positional_embedding") || config_.position_resize == PositionResize::kEachImage) return {};
    at::Tensor stored = OnCpu("positional_embedding");
    if (config_.text()) return ToDevice(stored);
    const int64_t h = config_.grid_height(), w = config_.grid_width();
    const bool of_class = config_.positions == Positions::kAll && config_.class_token;
    at::Tensor patches = of_class ? stored.slice(0, 1) : stored;
    if (config_.position_grid > 0 && (config_.position_grid != h || config_.position_grid != w)) {
      const int64_t side = config_.position_grid;
      const at::Tensor map = patches.view({1, side, side, config_.width}).permute({0, 3, 1, 2});
      const at::Tensor at_size = config_.position_resize == PositionResize::kBicubicAntialias
                                     ? at::_upsample_bicubic2d_aa(map, {h, w}, /*align_corners=*/false)
                                     : at::upsample_bicubic2d(map, {h, w}, /*align_corners=*/false);
      patches = at_size.permute({0, 2, 3, 1}).reshape({h * w, config_.width});
    }
    std::vector<at::Tensor> rows;
    if (of_class) rows.push_back(stored.slice(0, 0, 1));
    const int64_t without = config_.prefix_tokens() - (of_class ? 1 : 0);
    if (without > 0) rows.push_back(at::zeros({without, config_.width}, at::kFloat));
    rows.push_back(patches);
    return ToDevice(at::cat(rows));
  }

 private:
  void LoadAttention(const std::string& name, EncoderBlock* block) const {
    const int64_t w = config_.width;
    const bool turned = config_.rope.kind != Rope::Kind::kNone;
    // The order in which halves turn, for queries and keys.
    const auto ordered = [&](const at::Tensor& rows) {
      if (config_.rope.kind != Rope::Kind::kNeighbours || !rows.defined()) return rows;
      return at::cat({ToHalves(rows.slice(0, 0, w), config_.heads),
                      ToHalves(rows.slice(0, w, 2 * w), config_.heads), rows.slice(0, 2 * w)});
    };
    const at::Tensor weight = ordered(Matrix(name + "attn.in_proj_weight"));
    const at::Tensor bias = ordered(Optional(name + "attn.in_proj_bias"));
    const auto part = [](const at::Tensor& rows, int64_t from, int64_t to) {
      return rows.defined() ? rows.slice(0, from, to).clone() : rows;
    };
    if (!block->one_query) {
      block->qkv = Layer(name + "qkv", weight, bias);
      return;
    }
    block->query = Layer(name + "query", part(weight, 0, w), part(bias, 0, w));
    if (turned) {
      block->turned_key_value = Layer(name + "key_value", part(weight, w, 3 * w), part(bias, w, 3 * w));
    } else {
      block->key_value = KeyValueWeights(
          Float(name + "attn.in_proj_weight").slice(0, w),
          bias.defined() ? Float(name + "attn.in_proj_bias").slice(0, w) : at::Tensor(), config_.heads);
    }
  }

  // `apart`: something stands between the two layers, which then hand over floats.
  void LoadMlp(const std::string& stored, const std::string& name, double scale, bool apart,
               LinearLayer* c_fc, LinearLayer* c_proj) const {
    *c_fc = Layer(name + "c_fc", Matrix(stored + "c_fc.weight", scale), Tensor(stored + "c_fc.bias", scale),
                  apart ? "" : name + "c_proj");
    // What a gate lets through is a product of two numbers: its largest are so far from its usual ones that
    // eight bits for both are half of what int8 costs such a tower (1 - cosine of random EVA02 and DINOv3
    // towers of twelve blocks: 0.0021 and 0.0038 with it, 0.0011 and 0.0016 without).
    *c_proj = Layer(name + "c_proj", Matrix(stored + "c_proj.weight", 1 / scale),
                    Tensor(stored + "c_proj.bias"), "",
                    /*even=*/!apart, /*exact=*/config_.gated_mlp);
  }

  const TowerConfig& config_;
  const TowerWeights& weights_;
  const EncoderOptions& options_;
};

}  // namespace

EncoderParts::EncoderParts(const TowerConfig& config, const TowerWeights& weights,
                           const EncoderOptions& options)
    : rope(config, options.device) {
  const Loader loader(config, weights, options);
  stem = loader.LoadStem();
  if (config.text()) words = loader.Tensor("token_embedding.weight");
  prefix = loader.LoadPrefix();
  positions = loader.LoadPositions();
  if (config.position_resize == PositionResize::kEachImage)
    position_square = loader.Float("positional_embedding");
  ln_pre = loader.LoadNorm("ln_pre");
  ln_post = loader.LoadNorm("ln_post");
  if (config.pool == Pool::kAttention) pool = loader.LoadPool();
  proj = loader.Optional("proj");
  proj_bias = loader.Optional("proj_bias");
  for (int i = 0; i < config.layers; ++i) blocks.push_back(loader.LoadBlock(i));
}

}  // namespace embedd
