// SPDX-License-Identifier: Apache-2.0

#include "server/engine/encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <utility>

#include "server/engine/grid_positions.h"
#include "server/engine/patches.h"

namespace embedd {
namespace {

// Of patches asked for at a time: 10 MB of f32 at 224x224, and enough rows for the product to run at its
// best.
constexpr int64_t kPatchImages = 16;

// x + gamma * (layer(y)); gamma is undefined without layer scale. Writes into x.
at::Tensor AddResidual(const at::Tensor& x, const LinearLayer& layer, const at::Tensor& y,
                       const at::Tensor& gamma) {
  if (!gamma.defined()) return layer.ApplyAndAdd(y, x);
  at::Tensor sum = x;
  return sum.add_(layer.Apply(y).mul_(gamma));
}

// The token of each input that `pooled` says, or the first where it is undefined: [n, tokens, width] -> [n,
// 1, width].
at::Tensor TakeToken(const at::Tensor& x, const at::Tensor& pooled) {
  if (!pooled.defined()) return x.slice(1, 0, 1).contiguous();
  return x.gather(1, pooled.view({-1, 1, 1}).expand({-1, 1, x.size(2)}));
}

// Patches of 16x16 pixels [n, patches, 3 * 16 * 16] in steps of 4x4 pixels, 2x2 and 2x2 of what came out.
at::Tensor Steps(const std::vector<LinearLayer>& stem, const at::Tensor& patches) {
  const int64_t n = patches.size(0), count = patches.size(1);
  at::Tensor x = patches.view({n * count, 3, 4, 4, 4, 4}).permute({0, 2, 4, 1, 3, 5}).reshape({-1, 48});
  x = stem[0].ApplyActivation(x, Activation::kGelu);  // [n * count * 4 * 4, width / 4]
  x = x.view({n * count, 2, 2, 2, 2, -1}).permute({0, 1, 3, 5, 2, 4}).reshape({n * count * 4, -1});
  x = stem[1].ApplyActivation(x, Activation::kGelu);  // [n * count * 2 * 2, width / 4]
  x = x.view({n * count, 4, -1}).transpose(1, 2).reshape({n * count, -1});
  return stem[2].Apply(x).view({n, count, -1});
}

}  // namespace

Encoder::Encoder(const TowerConfig& config, const TowerWeights& weights, const Options& options)
    : config_(config), options_(options), parts_(config_, weights, options_) {}

at::Tensor Encoder::Forward(const at::Tensor& pixels) const {
  return ForwardPatches(UnfoldPatches(pixels, config_.patch));
}

at::Tensor Encoder::ForwardPatches(const at::Tensor& patches) const { return Transform(Embed(patches), {}); }

at::Tensor Encoder::Forward(int64_t n, PatchSource patches, absl::Span<const PatchGrid> grids) const {
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < n; first += kPatchImages) {
    const int64_t count = std::min(kPatchImages, n - first);
    const size_t from = std::min(static_cast<size_t>(first), grids.size());
    parts.push_back(Embed(patches(first, count), grids.subspan(from, static_cast<size_t>(count))));
  }
  at::Tensor x = parts.size() == 1 ? std::move(parts[0]) : at::cat(parts);
  parts.clear();
  if (grids.empty()) return Transform(std::move(x), {});
  std::vector<int64_t> counts;
  counts.reserve(grids.size());
  for (const PatchGrid& grid : grids) counts.push_back(grid.count());
  return Transform(std::move(x), {.own = OwnTokens(std::move(counts), config_.tokens(), options_.device)});
}

at::Tensor Encoder::ForwardText(const at::Tensor& ids, const at::Tensor& pooled) const {
  at::Tensor x = at::embedding(parts_.words, ids);
  x.add_(parts_.positions.slice(0, 0, ids.size(1)));
  return Transform(std::move(x), {.pooled = pooled});
}

// [n, rows * columns, 3 * p * p] -> [n, tokens, width]. The patches lie side by side, so the convolution is
// one product over them.
at::Tensor Encoder::Embed(const at::Tensor& patches, absl::Span<const PatchGrid> grids) const {
  const int64_t n = patches.size(0);
  at::Tensor x = config_.stem == Stem::kSteps ? Steps(parts_.stem, patches) : parts_.stem[0].Apply(patches);
  if (parts_.prefix.defined()) {
    x = at::cat({parts_.prefix.expand({n, config_.prefix_tokens(), config_.width}), x}, 1);
  }
  if (parts_.positions.defined()) x.add_(parts_.positions);
  if (parts_.position_square.defined()) {
    const at::Tensor weights = GridPositionWeights(grids, config_.tokens(), config_.position_grid);
    x.add_(at::matmul(weights.to(options_.device, /*non_blocking=*/false), parts_.position_square)
               .to(options_.dtype));
  }
  return Normalize(parts_.ln_pre, x);
}

// [n, tokens, width] -> float32 [n, embed_dim]
at::Tensor Encoder::Transform(at::Tensor x, const Tail& tail) const {
  for (const EncoderBlock& block : parts_.blocks) {
    at::Tensor attended = Attend(block, Normalize(block.ln_1, x), tail);
    if (block.attention_norm.weight.defined()) attended = Normalize(block.attention_norm, attended);
    if (block.one_query) x = TakeToken(x, tail.pooled);
    x = AddResidual(x, block.out_proj, attended, block.ls_1);
    x = AddResidual(x, block.c_proj, Hidden(block, Normalize(block.ln_2, x)), block.ls_2);
  }
  at::Tensor out = PoolTokens(x, tail.own);
  if (parts_.proj.defined()) out = at::matmul(out, parts_.proj);
  if (parts_.proj_bias.defined()) out = out + parts_.proj_bias;
  return out.to(at::kFloat);
}

// Without a norm, x.
at::Tensor Encoder::Normalize(const NormPart& norm, const at::Tensor& x) const {
  if (!norm.weight.defined()) return x;
  return at::layer_norm(x.to(norm.weight.scalar_type()), {x.size(-1)}, norm.weight, norm.bias, config_.eps)
      .to(options_.dtype);
}

// [n, tokens, width] -> [n, tokens, mlp_width]
at::Tensor Encoder::Hidden(const EncoderBlock& block, const at::Tensor& x) const {
  const at::Tensor hidden = config_.gated_mlp ? block.c_fc.ApplyGated(x, config_.activation)
                                              : block.c_fc.ApplyActivation(x, config_.activation);
  return Normalize(block.mlp_norm, hidden);
}

// [n, tokens, width] -> [n, tokens, width], or [n, 1, width] in a block of one query; before out_proj.
at::Tensor Encoder::Attend(const EncoderBlock& block, const at::Tensor& x, const Tail& tail) const {
  const int64_t width = config_.width;
  if (block.one_query) {
    const at::Tensor query = block.query.Apply(TakeToken(x, tail.pooled));
    if (parts_.rope.used()) {  // the first token is not turned
      const at::Tensor both = block.turned_key_value.Apply(x);
      const at::Tensor keys = parts_.rope.Turn(both.narrow(-1, 0, width));
      return Attention(query, keys, both.narrow(-1, width, width), config_.heads);
    }
    at::Tensor visible;
    if (config_.causal) {
      const at::Tensor places = at::arange(x.size(1), tail.pooled.options());
      visible = places.view({1, 1, -1}).le(tail.pooled.view({-1, 1, 1}));
    }
    return OneQueryAttention(query, x, block.key_value, visible);
  }
  const at::Tensor qkv = block.qkv.Apply(x);
  at::Tensor turned = qkv.narrow(-1, 0, 2 * width);
  if (parts_.rope.used()) turned = parts_.rope.Turn(turned);
  return Attention(turned.narrow(-1, 0, width), turned.narrow(-1, width, width),
                   qkv.narrow(-1, 2 * width, width), config_.heads, config_.causal, tail.own);
}

// [n, tokens, width] -> [n, width]. Normalising one token or all of them is the same for that token.
at::Tensor Encoder::PoolTokens(const at::Tensor& x, const OwnTokens& own) const {
  switch (config_.pool) {
    case Pool::kToken:
    case Pool::kPosition:
      return Normalize(parts_.ln_post, x.select(1, 0));
    case Pool::kAverage: {
      const at::Tensor patches = x.slice(1, config_.prefix_tokens());
      return config_.final_ln_after_pool ? Normalize(parts_.ln_post, patches.mean(1))
                                         : Normalize(parts_.ln_post, patches).mean(1);
    }
    case Pool::kAttention:
      break;
  }
  const AttentionPool& pool = parts_.pool;
  at::Tensor tokens = Normalize(parts_.ln_post, x);
  if (!config_.pool_prefix) tokens = tokens.slice(1, config_.prefix_tokens());
  const at::Tensor taken = AskedAttention(pool.asked, tokens, pool.key_value, own.seen).to(options_.dtype);
  const at::Tensor z = pool.out_proj.Apply(taken);
  return AddResidual(z, pool.c_proj, pool.c_fc.ApplyActivation(Normalize(pool.ln, z), config_.activation),
                     {});
}

}  // namespace embedd
