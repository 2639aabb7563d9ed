// SPDX-License-Identifier: Apache-2.0

#include "server/model/tower_config.h"

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

void AddNorm(const std::string& name, int64_t width, Shapes* tensors) {
  (*tensors)[name + ".weight"] = {width};
  (*tensors)[name + ".bias"] = {width};
}

void AddLayer(const std::string& name, int64_t out, int64_t in, Shapes* tensors) {
  (*tensors)[name + ".weight"] = {out, in};
  (*tensors)[name + ".bias"] = {out};
}

void AddStem(const TowerConfig& c, Shapes* tensors) {
  const int64_t w = c.width;
  if (c.stem == Stem::kWords) {
    (*tensors)["token_embedding.weight"] = {c.vocabulary, w};
  } else if (c.stem == Stem::kPatches) {
    (*tensors)["conv1.weight"] = {w, 3, c.patch, c.patch};
    if (c.patch_bias) (*tensors)["conv1.bias"] = {w};
  } else if (c.stem == Stem::kPixels) {
    AddLayer("conv1", w, int64_t{3} * c.patch * c.patch, tensors);
  } else {
    (*tensors)["stem.0.weight"] = {w / 4, 3, 4, 4};
    (*tensors)["stem.1.weight"] = {w / 4, w / 4, 2, 2};
    (*tensors)["stem.2.weight"] = {w, w / 4, 2, 2};
    (*tensors)["stem.2.bias"] = {w};
    for (const char* step : {"stem.0.bn.", "stem.1.bn."}) {
      for (const char* part : {"weight", "bias", "running_mean", "running_var"})
        (*tensors)[absl::StrCat(step, part)] = {w / 4};
    }
  }
}

void AddPool(const TowerConfig& c, Shapes* tensors) {
  const int64_t w = c.width;
  (*tensors)["pool.query"] = {w};
  (*tensors)["pool.in_proj_weight"] = {3 * w, w};
  (*tensors)["pool.in_proj_bias"] = {3 * w};
  AddLayer("pool.out_proj", w, w, tensors);
  AddNorm("pool.ln", w, tensors);
  AddLayer("pool.c_fc", c.pool_mlp_width, w, tensors);
  AddLayer("pool.c_proj", w, c.pool_mlp_width, tensors);
}

}  // namespace

std::string ActivationName(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kQuickGelu:
      return "quick_gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kSilu:
      return "silu";
  }
  return "gelu";
}

std::string DescribeTower(const TowerConfig& c) {
  if (c.text()) {
    return absl::StrCat("text transformer, ", c.layers, " layers, width ", c.width, ", ", c.heads, " heads, ",
                        c.context_length, " tokens, ", ActivationName(c.activation));
  }
  const std::string size = c.max_patches > 0 ? absl::StrCat("up to ", c.max_patches, " patches")
                                             : absl::StrCat(c.image_width, "x", c.image_height);
  std::string line = absl::StrCat("vision transformer, ", c.layers, " layers, width ", c.width, ", ", c.heads,
                                  " heads, patch ", c.patch, ", ", size, ", ", c.gated_mlp ? "gated " : "",
                                  ActivationName(c.activation));
  if (c.pool == Pool::kAverage) absl::StrAppend(&line, ", average pool");
  if (c.pool == Pool::kAttention) absl::StrAppend(&line, ", attention pool");
  if (c.registers > 0) absl::StrAppend(&line, ", ", c.registers, " registers");
  if (c.rope.kind != Rope::Kind::kNone) absl::StrAppend(&line, ", rotary positions");
  if (!c.ln_pre && !c.patch_bias) absl::StrAppend(&line, ", no ln_pre");
  if (c.layer_scale) absl::StrAppend(&line, ", layer scale");
  return line;
}

Shapes TowerTensors(const TowerConfig& c) {
  const int64_t w = c.width, m = c.mlp_width;
  Shapes tensors;
  AddStem(c, &tensors);
  if (c.class_token && !c.text()) tensors["class_embedding"] = {w};
  if (c.registers > 0) tensors["registers"] = {c.registers, w};
  if (c.text()) {
    tensors["positional_embedding"] = {c.context_length, w};
  } else if (c.positions != Positions::kNone) {
    const int64_t patches =
        c.position_grid > 0 ? int64_t{c.position_grid} * c.position_grid : c.grid_height() * c.grid_width();
    const bool of_class = c.positions == Positions::kAll && c.class_token;
    tensors["positional_embedding"] = {patches + (of_class ? 1 : 0), w};
  }
  if (c.ln_pre) AddNorm("ln_pre", w, &tensors);
  AddNorm("ln_post", w, &tensors);
  if (c.pool == Pool::kAttention) AddPool(c, &tensors);
  if (c.projection) tensors["proj"] = {w, c.embed_dim};
  if (c.projection_bias) tensors["proj_bias"] = {c.embed_dim};
  for (int i = 0; i < c.layers; ++i) {
    const std::string block = absl::StrCat("transformer.resblocks.", i, ".");
    AddNorm(block + "ln_1", w, &tensors);
    AddNorm(block + "ln_2", w, &tensors);
    tensors[block + "attn.in_proj_weight"] = {3 * w, w};
    if (c.qkv_bias()) tensors[block + "attn.in_proj_bias"] = {3 * w};
    if (c.attention_norm) AddNorm(block + "attn.norm", w, &tensors);
    AddLayer(block + "attn.out_proj", w, w, &tensors);
    AddLayer(block + "mlp.c_fc", c.gated_mlp ? 2 * m : m, w, &tensors);
    if (c.mlp_norm) AddNorm(block + "mlp.norm", m, &tensors);
    AddLayer(block + "mlp.c_proj", w, m, &tensors);
    if (c.layer_scale) {
      tensors[block + "ls_1.gamma"] = {w};
      tensors[block + "ls_2.gamma"] = {w};
    }
  }
  return tensors;
}

}  // namespace embedd
