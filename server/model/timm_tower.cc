// SPDX-License-Identifier: Apache-2.0

#include "server/model/timm_tower.h"

#include <cmath>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

struct Row {
  const char* pattern;  // '*' is anything; the first row that fits counts
  Activation activation;
  double eps;
  int head_dim;
  int pool_heads = 0;  // of an attention pool; 0: as many as the blocks have
  bool pool_prefix = false;
  Rope rope = {};
};

constexpr Rope Stretched(int reference) { return {.kind = Rope::Kind::kNeighbours, .reference = reference}; }
constexpr Rope Perception(int reference, double offset) {
  return {.kind = Rope::Kind::kNeighbours, .reference = reference, .offset = offset, .columns_first = true};
}

constexpr Activation kErf = Activation::kGelu, kTanh = Activation::kGeluTanh;
const Row kRows[] = {
    {"vit_base_patch32_siglip_*", kTanh, 1e-6, 64},
    {"vit_large_patch16_siglip_512*", kTanh, 1e-6, 64},
    {"vit_so400m_patch16_siglip_*", kTanh, 1e-6, 72},
    {"vit_giantopt_patch16_siglip_*", kTanh, 1e-6, 96},
    {"vit_base_patch16_siglip_*", kErf, 1e-6, 64},
    {"vit_large_patch16_siglip_*", kErf, 1e-6, 64},
    {"vit_so400m_patch14_siglip_*", kErf, 1e-6, 72},
    {"vit_huge_*_clip_quickgelu_*", Activation::kQuickGelu, 1e-5, 80},
    {"vit_huge_*_clip_*", kErf, 1e-5, 80},
    {"vit_giant_*_clip_*", kErf, 1e-5, 88},
    {"vit_gigantic_*_clip_*", kErf, 1e-5, 104},
    {"vit_*_clip_quickgelu_*", Activation::kQuickGelu, 1e-5, 64},
    {"vit_*_clip_*", kErf, 1e-5, 64},
    {"vit_base_mci_224", kErf, 1e-6, 64},
    {"eva02_base_patch16_clip_224", Activation::kSilu, 1e-6, 64, 0, false, Stretched(16)},
    {"eva02_large_patch14_clip_*", Activation::kSilu, 1e-6, 64, 0, false, Stretched(16)},
    {"vit_pe_core_base_patch16_224", kErf, 1e-5, 64, 8, true, Perception(14, 1)},
    {"vit_pe_core_gigantic_patch14_448", kErf, 1e-5, 96, 8, true, Perception(32, 0)},
    {"vit_pe_core_*", kErf, 1e-5, 64, 8, true, Perception(24, 1)},
    {"eva02_base_patch14_*", Activation::kSilu, 1e-6, 64, 0, false, Stretched(16)},
    {"eva02_large_patch14_*", Activation::kSilu, 1e-6, 64, 0, false, Stretched(16)},
    {"vit_*_patch14_*dinov2", kErf, 1e-6, 64},
    {"vit_huge_patch14_224", kErf, 1e-6, 80},
    {"deit_*_patch16_*", kErf, 1e-6, 64},
    {"deit3_huge_patch14_*", kErf, 1e-6, 80},
    {"deit3_*_patch16_*", kErf, 1e-6, 64},
    {"vit_tiny_patch16_*", kErf, 1e-6, 64},
    {"vit_small_patch*", kErf, 1e-6, 64},
    {"vit_base_patch*", kErf, 1e-6, 64},
    {"vit_large_patch*", kErf, 1e-6, 64},
};

// What looks like a row and is another model.
constexpr const char* kOthers[] = {"*_dinov3*", "*_gap*",   "*_rpn*",  "*_xp*",   "*_medium*", "naflexvit*",
                                   "*_mae*",    "*_rope_*", "*_i21k*", "*_dino_", "*_plus_*"};

bool Fits(absl::string_view name, absl::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == absl::string_view::npos) return name == pattern;
  if (!absl::ConsumePrefix(&name, pattern.substr(0, star))) return false;
  pattern.remove_prefix(star + 1);
  for (size_t skip = 0; skip <= name.size(); ++skip) {
    if (Fits(name.substr(skip), pattern)) return true;
  }
  return false;
}

const Row* FindRow(const std::string& tagged) {
  const std::string name = tagged.substr(0, tagged.find('.'));  // ".v2_webli" and the like name weights
  for (const char* other : kOthers) {
    if (Fits(name, other)) return nullptr;
  }
  for (const Row& row : kRows) {
    if (Fits(name, row.pattern)) return &row;
  }
  return nullptr;
}

// Reads sizes out of tensors.
class Shapes {
 public:
  Shapes(const WeightFiles& files, const std::string& prefix) : files_(files), prefix_(prefix) {}
  bool Has(const std::string& name) const { return files_.Has(prefix_ + name); }
  // Dimension `at` of the tensor, or 0 with an error kept.
  int Size(const std::string& name, size_t at) {
    const auto it = files_.tensors().find(prefix_ + name);
    if (it != files_.tensors().end() && at < it->second.shape.size() && it->second.shape[at] >= 1 &&
        it->second.shape[at] <= 1 << 24) {
      return static_cast<int>(it->second.shape[at]);
    }
    const absl::string_view problem = it == files_.tensors().end() ? "is missing" : "has an impossible shape";
    if (status.ok()) status = files_.TensorError(prefix_ + name, problem);
    return 0;
  }
  absl::Status status;

 private:
  const WeightFiles& files_;
  const std::string& prefix_;
};

int CountBlocks(const WeightFiles& files, const std::string& prefix) {
  int count = 0;
  while (count < 512 && files.Has(absl::StrCat(prefix, "blocks.", count, ".norm1.weight"))) ++count;
  return count;
}

TowerLayout Layout(const std::string& prefix, const Shapes& shapes) {
  TowerLayout layout;
  layout.prefix = prefix;
  layout.block = "blocks.";
  const bool packed = shapes.Has("blocks.0.attn.qkv.weight");
  layout.names = {{"class_embedding", "cls_token"},
                  {"registers", "reg_token"},
                  {"positional_embedding", "pos_embed"},
                  {"conv1", "patch_embed.proj"},
                  {"stem.0.weight", "patch_embed.backbone.0.conv.weight"},
                  {"stem.1.weight", "patch_embed.backbone.1.conv.weight"},
                  {"stem.2", "patch_embed.backbone.2.conv"},
                  {"ln_pre", "norm_pre"},
                  {"ln_post", shapes.Has("norm.weight") ? "norm" : "fc_norm"},
                  {"proj", "head.weight^T"},
                  {"proj_bias", "head.bias"},
                  {"pool.query", "attn_pool.latent"},
                  {"pool.in_proj", "attn_pool.q+attn_pool.kv"},
                  {"pool.out_proj", "attn_pool.proj"},
                  {"pool.ln", "attn_pool.norm"},
                  {"pool.c_fc", "attn_pool.mlp.fc1"},
                  {"pool.c_proj", "attn_pool.mlp.fc2"},
                  {"ln_1", "norm1"},
                  {"ln_2", "norm2"},
                  {"attn.in_proj", packed ? "attn.qkv" : "attn.q_proj+attn.k_proj+attn.v_proj"},
                  {"attn.norm", "attn.norm"},
                  {"attn.out_proj", "attn.proj"},
                  {"ls_1.gamma", "ls1.gamma"},
                  {"ls_2.gamma", "ls2.gamma"},
                  {"mlp.c_fc", shapes.Has("blocks.0.mlp.fc1_g.weight") ? "mlp.fc1_g+mlp.fc1_x" : "mlp.fc1"},
                  {"mlp.norm", "mlp.norm"},
                  {"mlp.c_proj", "mlp.fc2"}};
  for (const char* step : {"0", "1"}) {
    for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
      layout.names[absl::StrCat("stem.", step, ".bn.", part)] =
          absl::StrCat("patch_embed.backbone.", step, ".bn.", part);
    }
  }
  return layout;
}

}  // namespace

absl::Status CheckTimmName(const std::string& name, const std::string& where) {
  if (FindRow(name) != nullptr) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(
      where, ": \"", Printable(name),
      "\" is not served. Of timm's towers these are: SigLIP and SigLIP2 of fixed size (vit_*_siglip_*), CLIP "
      "(vit_*_clip_*), MobileCLIP-B (vit_base_mci_224), EVA02-CLIP base and large (eva02_*_clip_*), PE-Core "
      "(vit_pe_core_*), DINOv2 (vit_*_dinov2) and plain ViT (vit_base_patch16_224 and the like). Choose a "
      "folder of "
      "one of them"));
}

absl::StatusOr<TimmTower> ReadTimmTower(const std::string& name, const std::string& where, int height,
                                        int width, const WeightFiles& files, const std::string& prefix,
                                        bool head) {
  if (absl::Status status = CheckTimmName(name, where); !status.ok()) return status;
  const Row& row = *FindRow(name);
  Shapes shapes(files, prefix);
  TimmTower tower;
  TowerConfig& c = tower.config;
  tower.layout = Layout(prefix, shapes);
  c.image_height = height;
  c.image_width = width;
  c.activation = row.activation;
  c.eps = row.eps;
  c.rope = row.rope;
  c.width = shapes.Size("blocks.0.norm1.weight", 0);
  c.layers = CountBlocks(files, prefix);
  c.ln_pre = shapes.Has("norm_pre.weight");
  if (shapes.Has("patch_embed.backbone.0.conv.weight")) {
    c.stem = Stem::kSteps;
    c.patch = 16;
  } else {
    c.patch = shapes.Size("patch_embed.proj.weight", 2);
    c.patch_bias = shapes.Has("patch_embed.proj.bias");
  }
  c.class_token = shapes.Has("cls_token");
  if (shapes.Has("reg_token")) c.registers = shapes.Size("reg_token", 1);
  const int position_rows = shapes.Size("pos_embed", 1);
  if (!shapes.status.ok()) return shapes.status;
  if (c.patch > height || c.patch > width || c.width % row.head_dim != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": \"", Printable(name), "\" has heads of ", row.head_dim, " and images of ",
                     height, "x", width, "; the weights have width ", c.width, " and patches of ", c.patch));
  }
  c.heads = c.width / row.head_dim;
  const int grid = c.grid_height() * c.grid_width();
  c.positions = position_rows == grid ? Positions::kPatches : Positions::kAll;
  if (shapes.Has("blocks.0.attn.q_proj.weight")) {
    c.query_bias = shapes.Has("blocks.0.attn.q_proj.bias");
    c.key_bias = shapes.Has("blocks.0.attn.k_proj.bias");
    c.value_bias = shapes.Has("blocks.0.attn.v_proj.bias");
  } else {
    c.query_bias = c.key_bias = c.value_bias = shapes.Has("blocks.0.attn.qkv.bias");
  }
  c.attention_norm = shapes.Has("blocks.0.attn.norm.weight");
  c.layer_scale = shapes.Has("blocks.0.ls1.gamma");
  c.gated_mlp = shapes.Has("blocks.0.mlp.fc1_g.weight");
  c.mlp_width = shapes.Size("blocks.0.mlp.fc2.weight", 1);
  if (!c.gated_mlp &&
      shapes.Size("blocks.0.mlp.fc1.weight", 0) == 2 * c.mlp_width) {  // both in one, gate first
    c.gated_mlp = true;
    c.activation = Activation::kSilu;
  }
  c.mlp_norm = shapes.Has("blocks.0.mlp.norm.weight");
  if (shapes.Has("attn_pool.latent")) {
    c.pool = Pool::kAttention;
    c.pool_heads = row.pool_heads > 0 ? row.pool_heads : c.heads;
    c.pool_prefix = row.pool_prefix;
    c.pool_mlp_width = shapes.Size("attn_pool.mlp.fc1.weight", 0);
  } else if (shapes.Has("fc_norm.weight")) {
    c.pool = Pool::kAverage;
    c.final_ln_after_pool = true;
  }
  c.projection = head;
  c.projection_bias = head && shapes.Has("head.bias");
  c.embed_dim = head ? shapes.Size("head.weight", 0) : c.width;
  if (c.pool == Pool::kAttention && c.width % c.pool_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": the width ", c.width, " does not divide into ",
                                                   c.pool_heads, " heads of the pool"));
  }
  if (!shapes.status.ok()) return shapes.status;
  return tower;
}

}  // namespace embedd
