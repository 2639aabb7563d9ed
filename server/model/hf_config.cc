// SPDX-License-Identifier: Apache-2.0

#include "server/model/hf_config.h"

#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

using nlohmann::json;

constexpr int64_t kLargestImage = 4096;

// One row for each model_type: its family, and where a lone tower's config stands at the top.
struct Row {
  const char* model_type;
  HfFamily family;
  bool image_only;  // the file's top is the image tower's config
};
constexpr Row kRows[] = {
    {"clip", HfFamily::kClip, false},         {"clip_vision_model", HfFamily::kClip, true},
    {"chinese_clip", HfFamily::kClip, false}, {"chinese_clip_vision_model", HfFamily::kClip, true},
    {"metaclip_2", HfFamily::kClip, false},   {"metaclip_2_vision_model", HfFamily::kClip, true},
    {"siglip", HfFamily::kSiglip, false},     {"siglip_vision_model", HfFamily::kSiglip, true},
    {"siglip2", HfFamily::kNaflex, false},    {"siglip2_vision_model", HfFamily::kNaflex, true},
    {"dinov2", HfFamily::kDinov2, true},      {"dinov2_with_registers", HfFamily::kDinov2, true},
    {"dinov3_vit", HfFamily::kDinov3, true},  {"vit", HfFamily::kVit, true},
};

// Families that are asked for and not served, and what to do instead.
struct Refusal {
  const char* model_type;
  const char* advice;
};
constexpr Refusal kRefusals[] = {
    {"dinov3_convnext",
     "convolutional towers are not served: take a dinov3_vit, such as "
     "facebook/dinov3-vitb16-pretrain-lvd1689m"},
    {"jina_clip", "its weights need code from its repository: take a CLIP, SigLIP or SigLIP2 folder"},
    {"nomic_bert", "its weights need code from its repository: take a CLIP, SigLIP or SigLIP2 folder"},
    {"colpali", "it gives many vectors for an input, this server gives one"},
    {"colqwen2", "it gives many vectors for an input, this server gives one"},
};

bool IsSiglip(HfFamily family) { return family == HfFamily::kSiglip || family == HfFamily::kNaflex; }

absl::Status Refuse(const std::string& type, const std::string& file) {
  for (const Refusal& refusal : kRefusals) {
    if (type == refusal.model_type) {
      return absl::UnimplementedError(
          absl::StrCat(file, ": model_type: is \"", type, "\"; ", refusal.advice));
    }
  }
  std::string known;
  for (const Row& row : kRows) {
    if (!row.image_only || row.family != HfFamily::kClip)
      absl::StrAppend(&known, known.empty() ? "" : ", ", "\"", row.model_type, "\"");
  }
  return absl::UnimplementedError(
      absl::StrCat(file, ": model_type: is \"", Printable(type), "\"; this server reads ", known,
                   " folders, and OpenCLIP folders, which have an open_clip_config.json"));
}

Activation ReadActivation(JsonReader& r, absl::string_view fallback) {
  const std::string name = r.String("hidden_act", fallback);
  if (name == "quick_gelu") return Activation::kQuickGelu;
  // Four spellings of one formula.
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast" || name == "gelu_accurate")
    return Activation::kGeluTanh;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name != "gelu" && name != "gelu_python") {
    r.Fail("hidden_act", absl::StrCat("\"", Printable(name), "\" is not supported"),
           absl::StatusCode::kUnimplemented);
  }
  return Activation::kGelu;
}

// A number, or two that are equal.
int ReadSide(JsonReader& r, absl::string_view key, int fallback) {
  const json* value = r.Find(key);
  if (value != nullptr && value->is_array() && value->size() == 2 && (*value)[0] == (*value)[1] &&
      (*value)[0].is_number_unsigned() && (*value)[0].get<uint64_t>() >= 1 &&
      (*value)[0].get<uint64_t>() <= uint64_t{kLargestImage}) {
    return (*value)[0].get<int>();
  }
  return static_cast<int>(r.Int(key, fallback, 1, kLargestImage));
}

struct Defaults {
  int width, mlp_width, layers, heads;
  const char* activation;
  double eps;
};

void ReadShape(JsonReader& r, const Defaults& d, TowerConfig* c) {
  c->width = static_cast<int>(r.Int("hidden_size", d.width, 1, 1 << 16));
  c->mlp_width = static_cast<int>(r.Int("intermediate_size", d.mlp_width, 1, 1 << 20));
  c->layers = static_cast<int>(r.Int("num_hidden_layers", d.layers, 1, 512));
  c->heads = static_cast<int>(r.Int("num_attention_heads", d.heads, 1, 1 << 12));
  c->eps = r.Number("layer_norm_eps", d.eps, 0, 1);
  c->activation = ReadActivation(r, d.activation);
  if (r.status().ok() && c->width % c->heads != 0) {
    r.Fail("num_attention_heads", absl::StrCat("does not divide hidden_size ", c->width));
  }
}

void ReadPatch(JsonReader& r, int patch, TowerConfig* c) {
  c->patch = ReadSide(r, "patch_size", patch);
  r.Int("num_channels", 3, 3, 3);
}

void ReadPatches(JsonReader& r, int image, int patch, TowerConfig* c) {
  c->image_height = c->image_width = ReadSide(r, "image_size", image);
  ReadPatch(r, patch, c);
  if (r.status().ok() && c->patch > c->image_height) r.Fail("patch_size", "is larger than image_size");
}

// Without projection, norm before the blocks and what else CLIP has.
TowerConfig PlainTower() {
  TowerConfig c;
  c.ln_pre = false;
  c.patch_bias = true;
  c.projection = false;
  return c;
}

void ReadClip(JsonReader& r, int embed_dim, TowerConfig* c) {
  ReadShape(r, {768, 3072, 12, 12, "quick_gelu", 1e-5}, c);
  ReadPatches(r, 224, 32, c);
  c->embed_dim = embed_dim;
}

// What SigLIP and NaFlex have in common: all but the size of images.
void ReadSiglipTower(JsonReader& r, TowerConfig* c) {
  *c = PlainTower();
  ReadShape(r, {768, 3072, 12, 12, "gelu_pytorch_tanh", 1e-6}, c);
  if (!r.Bool("vision_use_head", true)) {
    r.Fail("vision_use_head", "must be true: without its head the tower has no embedding",
           absl::StatusCode::kUnimplemented);
  }
  c->class_token = false;
  c->pool = Pool::kAttention;
  c->pool_heads = c->heads;
  c->pool_mlp_width = c->mlp_width;
  c->embed_dim = c->width;
}

void ReadSiglip(JsonReader& r, TowerConfig* c) {
  ReadSiglipTower(r, c);
  ReadPatches(r, 224, 16, c);
}

void ReadNaflex(JsonReader& r, TowerConfig* c) {
  ReadSiglipTower(r, c);
  ReadPatch(r, 16, c);
  c->stem = Stem::kPixels;
  const int64_t places = r.Int("num_patches", 256, 1, 1 << 16);
  c->position_grid = static_cast<int>(std::lround(std::sqrt(static_cast<double>(places))));
  if (r.status().ok() && int64_t{c->position_grid} * c->position_grid != places) {
    r.Fail("num_patches", absl::StrCat("is ", places, ": it must be a square number, as 256 is"));
  }
  c->position_resize = PositionResize::kEachImage;
  c->max_patches = static_cast<int>(places);  // until the processor says how many
}

void ReadDinov2(JsonReader& r, bool registers, TowerConfig* c) {
  *c = PlainTower();
  ReadShape(r, {768, 0, 12, 12, "gelu", 1e-6}, c);
  ReadPatches(r, 224, registers ? 16 : 14, c);
  const double ratio = r.Number("mlp_ratio", 4, 1e-3, 64);
  c->mlp_width = static_cast<int>(c->width * ratio);
  if (r.Bool("use_swiglu_ffn", false)) {
    c->gated_mlp = true;
    c->activation = Activation::kSilu;
    c->mlp_width = (static_cast<int>(c->mlp_width * 2 / 3.0) + 7) / 8 * 8;
  }
  c->query_bias = c->key_bias = c->value_bias = r.Bool("qkv_bias", true);
  if (registers) c->registers = static_cast<int>(r.Int("num_register_tokens", 4, 0, 1024));
  c->layer_scale = true;
  c->position_grid = c->image_height / c->patch;
  c->position_resize = registers ? PositionResize::kBicubicAntialias : PositionResize::kBicubic;
  c->embed_dim = c->width;
}

void ReadDinov3(JsonReader& r, TowerConfig* c) {
  *c = PlainTower();
  ReadShape(r, {384, 1536, 12, 6, "gelu", 1e-5}, c);
  ReadPatches(r, 224, 16, c);
  c->rope = {.kind = Rope::Kind::kHalves, .theta = r.Number("rope_theta", 100, 1e-3, 1e9)};
  c->query_bias = r.Bool("query_bias", true);
  c->key_bias = r.Bool("key_bias", false);
  c->value_bias = r.Bool("value_bias", true);
  for (const char* key : {"proj_bias", "mlp_bias"}) {
    if (!r.Bool(key, true)) r.Fail(key, "must be true", absl::StatusCode::kUnimplemented);
  }
  c->gated_mlp = r.Bool("use_gated_mlp", false);
  c->registers = static_cast<int>(r.Int("num_register_tokens", 0, 0, 1024));
  c->layer_scale = true;
  c->positions = Positions::kNone;
  c->embed_dim = c->width;
  if (r.status().ok() && c->head_dim() % 4 != 0)
    r.Fail("num_attention_heads", "must leave heads of a multiple of four");
}

void ReadVit(JsonReader& r, TowerConfig* c) {
  *c = PlainTower();
  ReadShape(r, {768, 3072, 12, 12, "gelu", 1e-12}, c);
  ReadPatches(r, 224, 16, c);
  c->query_bias = c->key_bias = c->value_bias = r.Bool("qkv_bias", true);
  c->embed_dim = c->width;
}

void ReadText(JsonReader& r, const HfModel& model, int embed_dim, TowerConfig* c, TextSpec* spec) {
  const bool siglip = IsSiglip(model.family);
  c->ln_pre = false;
  c->stem = Stem::kWords;
  c->class_token = false;
  c->pool = Pool::kPosition;
  if (siglip) {
    ReadShape(r, {768, 3072, 12, 12, "gelu_pytorch_tanh", 1e-6}, c);
  } else {
    ReadShape(r, {512, 2048, 12, 8, "quick_gelu", 1e-5}, c);
  }
  c->vocabulary = static_cast<int>(r.Int("vocab_size", siglip ? 32000 : 49408, 1, 1 << 24));
  c->context_length = static_cast<int>(r.Int("max_position_embeddings", siglip ? 64 : 77, 1, 1 << 16));
  c->causal = !siglip;
  c->projection_bias = siglip;
  c->embed_dim = siglip ? static_cast<int>(r.Int("projection_size", c->width, 1, 1 << 16)) : embed_dim;
  spec->context_length = c->context_length;
  spec->vocab_size = c->vocabulary;
  if (siglip) {
    spec->pooling = TextPooling::kLast;
  } else {
    spec->tokenizer = TokenizerKind::kTokenizerJson;
    spec->cleaning = TextCleaning::kNone;
    spec->eos_id = static_cast<int>(r.Int("eos_token_id", 49407, 0, 1 << 24));
    // transformers: configs of before its argmax was corrected say 2, and mean the greatest id.
    spec->pooling = spec->eos_id == 2 ? TextPooling::kArgmax : TextPooling::kFirstEos;
  }
}

// The object at `key`, or the one of old files that wins over it, as in transformers.
struct Part {
  json object = json::object();
  std::string path;
};
Part FindPart(JsonReader& top, const std::string& key) {
  Part part{json::object(), key};
  if (const json* found = top.Find(key); found != nullptr) part.object = *found;
  if (const json* old = top.Find(key + "_dict"); old != nullptr) part = {*old, key + "_dict"};
  return part;
}

const std::map<std::string, std::string>& ClipBlock() {
  static const auto* const kNames = new std::map<std::string, std::string>{
      {"ln_1", "layer_norm1"},
      {"ln_2", "layer_norm2"},
      {"attn.in_proj", "self_attn.q_proj+self_attn.k_proj+self_attn.v_proj"},
      {"attn.out_proj", "self_attn.out_proj"},
      {"mlp.c_fc", "mlp.fc1"},
      {"mlp.c_proj", "mlp.fc2"},
  };
  return *kNames;
}

const std::map<std::string, std::string>& DinoBlock() {
  static const auto* const kNames = new std::map<std::string, std::string>{
      {"class_embedding", "embeddings.cls_token"},
      {"registers", "embeddings.register_tokens"},
      {"positional_embedding", "embeddings.position_embeddings"},
      {"conv1", "embeddings.patch_embeddings.projection"},
      {"ln_post", "layernorm"},
      {"attn.in_proj", "attention.attention.query+attention.attention.key+attention.attention.value"},
      {"attn.out_proj", "attention.output.dense"},
      {"ln_1", "norm1"},
      {"ln_2", "norm2"},
      {"ls_1.gamma", "layer_scale1.lambda1"},
      {"ls_2.gamma", "layer_scale2.lambda1"},
  };
  return *kNames;
}

}  // namespace

absl::StatusOr<HfModel> ParseHfConfig(absl::string_view text, const std::string& file) {
  absl::StatusOr<json> parsed = ParseJson(text, file);
  if (!parsed.ok()) return parsed.status();
  JsonReader top(*parsed, file);
  const std::string type = top.String("model_type", "");
  if (!top.status().ok()) return top.status();
  const Row* row = nullptr;
  for (const Row& candidate : kRows) {
    if (type == candidate.model_type) row = &candidate;
  }
  if (row == nullptr) return Refuse(type, file);

  HfModel model;
  model.family = row->family;
  const Part vision = row->image_only ? Part{*parsed, ""} : FindPart(top, "vision_config");
  const int projection_dim = static_cast<int>(top.Int("projection_dim", 512, 1, 1 << 16));
  if (!top.status().ok()) return top.status();
  JsonReader r(vision.object, file, vision.path);
  switch (row->family) {
    case HfFamily::kClip:
      ReadClip(r, projection_dim, &model.image);
      break;
    case HfFamily::kSiglip:
      ReadSiglip(r, &model.image);
      model.processor = HfProcessor::kSiglip;
      break;
    case HfFamily::kNaflex:
      ReadNaflex(r, &model.image);
      model.processor = HfProcessor::kSiglip2;
      model.image_size_of_processor = true;
      break;
    case HfFamily::kDinov2:
      ReadDinov2(r, type == "dinov2_with_registers", &model.image);
      model.processor = HfProcessor::kBit;
      model.image_size_of_processor = true;
      break;
    case HfFamily::kDinov3:
      ReadDinov3(r, &model.image);
      model.processor = HfProcessor::kDinov3;
      model.image_size_of_processor = true;
      break;
    case HfFamily::kVit:
      ReadVit(r, &model.image);
      model.processor = HfProcessor::kVit;
      break;
  }
  if (!r.status().ok()) return r.status();
  // The text towers of the others are a BERT, and one of another vocabulary.
  if (type == "clip" || type == "siglip" || type == "siglip2") {
    const Part part = FindPart(top, "text_config");
    JsonReader words(part.object, file, part.path);
    TowerConfig tower;
    ReadText(words, model, projection_dim, &tower, &model.text_spec);
    const bool no_head = words.Bool("no_head", false);
    if (!words.status().ok()) return words.status();
    if (!no_head) model.text = tower;
  }
  return model;
}

TowerLayout HfImageLayout(const HfModel& model) {
  TowerLayout layout;
  switch (model.family) {
    case HfFamily::kClip:
    case HfFamily::kSiglip:
    case HfFamily::kNaflex:
      layout.block = "encoder.layers.";
      layout.names = ClipBlock();
      layout.names.insert({{"class_embedding", "embeddings.class_embedding"},
                           {"positional_embedding", "embeddings.position_embedding.weight"},
                           {"conv1", "embeddings.patch_embedding"},
                           {"ln_pre", "pre_layrnorm"},  // spelled so in transformers
                           {"ln_post", "post_layernorm"},
                           {"proj", "/visual_projection.weight^T"},
                           {"pool.query", "head.probe"},
                           {"pool.in_proj_weight", "head.attention.in_proj_weight"},
                           {"pool.in_proj_bias", "head.attention.in_proj_bias"},
                           {"pool.out_proj", "head.attention.out_proj"},
                           {"pool.ln", "head.layernorm"},
                           {"pool.c_fc", "head.mlp.fc1"},
                           {"pool.c_proj", "head.mlp.fc2"}});
      return layout;
    case HfFamily::kDinov2:
      layout.block = "encoder.layer.";
      layout.names = DinoBlock();
      layout.names["mlp.c_fc"] = model.image.gated_mlp ? "mlp.weights_in" : "mlp.fc1";
      layout.names["mlp.c_proj"] = model.image.gated_mlp ? "mlp.weights_out" : "mlp.fc2";
      return layout;
    case HfFamily::kDinov3:
      layout.block = "layer.";
      layout.names = DinoBlock();
      layout.names["conv1"] = "embeddings.patch_embeddings";
      layout.names["ln_post"] = "norm";
      layout.names["attn.in_proj"] = "attention.q_proj+attention.k_proj+attention.v_proj";
      layout.names["attn.out_proj"] = "attention.o_proj";
      layout.names["mlp.c_fc"] = model.image.gated_mlp ? "mlp.gate_proj+mlp.up_proj" : "mlp.up_proj";
      layout.names["mlp.c_proj"] = "mlp.down_proj";
      return layout;
    case HfFamily::kVit:
      layout.block = "encoder.layer.";
      layout.names = DinoBlock();
      layout.names["ln_1"] = "layernorm_before";
      layout.names["ln_2"] = "layernorm_after";
      layout.names["mlp.c_fc"] = "intermediate.dense";
      layout.names["mlp.c_proj"] = "output.dense";
      return layout;
  }
  return layout;
}

TowerLayout HfTextLayout(const HfModel& model) {
  TowerLayout layout{"text_model.", "encoder.layers.", ClipBlock()};
  layout.names.insert({{"token_embedding.weight", "embeddings.token_embedding.weight"},
                       {"positional_embedding", "embeddings.position_embedding.weight"},
                       {"ln_post", "final_layer_norm"}});
  if (IsSiglip(model.family)) {
    layout.names["proj"] = "head.weight^T";
    layout.names["proj_bias"] = "head.bias";
  } else {
    layout.names["proj"] = "/text_projection.weight^T";
  }
  return layout;
}

std::vector<std::string> HfPrefixes(HfFamily family) {
  switch (family) {
    case HfFamily::kClip:
    case HfFamily::kSiglip:
    case HfFamily::kNaflex:
      return {"vision_model.", ""};
    case HfFamily::kDinov2:
      return {"", "dinov2.", "dinov2_with_registers."};
    case HfFamily::kDinov3:
      return {"", "model.", "dinov3_vit."};
    case HfFamily::kVit:
      return {"", "vit."};
  }
  return {""};
}

std::string HfProbe(HfFamily family) {
  switch (family) {
    case HfFamily::kClip:
    case HfFamily::kSiglip:
    case HfFamily::kNaflex:
      return "embeddings.patch_embedding.weight";
    case HfFamily::kDinov3:
      return "embeddings.patch_embeddings.weight";
    case HfFamily::kDinov2:
    case HfFamily::kVit:
      break;
  }
  return "embeddings.patch_embeddings.projection.weight";
}

bool IsUnusedHfTensor(absl::string_view name) {
  for (const absl::string_view known :
       {"logit_scale", "logit_bias", "text_projection.weight", "text_projection"}) {
    if (name == known) return true;
  }
  for (const absl::string_view part : {"text_model.", "classifier.", "pooler.", "vit.pooler."}) {
    if (absl::StartsWith(name, part)) return true;
  }
  return absl::EndsWith(name, "embeddings.position_ids") || absl::EndsWith(name, "embeddings.mask_token");
}

}  // namespace embedd
