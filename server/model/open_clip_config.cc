// SPDX-License-Identifier: Apache-2.0

#include "server/model/open_clip_config.h"

#include <array>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/model/json_reader.h"
#include "server/model/timm_tower.h"

namespace embedd {
namespace {

using nlohmann::json;

constexpr int64_t kLargestImage = 4096;

// A whole number, or [height, width].
std::optional<std::pair<int, int>> ReadSize(JsonReader& reader, absl::string_view key) {
  const json* value = reader.Find(key);
  if (value == nullptr) return std::nullopt;
  const auto good = [](const json& v) {
    return v.is_number_unsigned() && v.get<uint64_t>() >= 1 && v.get<uint64_t>() <= uint64_t{kLargestImage};
  };
  if (good(*value)) return std::make_pair(value->get<int>(), value->get<int>());
  if (value->is_array() && value->size() == 2 && good((*value)[0]) && good((*value)[1])) {
    return std::make_pair((*value)[0].get<int>(), (*value)[1].get<int>());
  }
  reader.Fail(key, absl::StrCat("must be a size from 1 to ", kLargestImage, ", or [height, width]"));
  return std::nullopt;
}

void Unsupported(JsonReader& reader, absl::string_view key, absl::string_view what) {
  reader.Fail(
      key,
      absl::StrCat(what,
                   " is not supported: this server runs OpenCLIP's own vision transformers (ViT-*) and those "
                   "timm towers that docs/models.md lists. Choose a model whose vision_cfg has no "
                   "attentional_pool and "
                   "whose layers is one number"),
      absl::StatusCode::kUnimplemented);
}

// The switches of OpenCLIP's "custom" attention block; no published model uses them.
void RefuseCustomBlock(JsonReader& reader) {
  const std::string block = reader.String("block_type", "default");
  if (block != "default") Unsupported(reader, "block_type", absl::StrCat("block type ", Printable(block)));
  for (absl::string_view key :
       {"qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"}) {
    if (reader.Bool(key, false)) Unsupported(reader, key, "the custom attention block");
  }
}

void ReadActivation(JsonReader& tower, bool quick_gelu, const std::string& file, const std::string& path,
                    TowerConfig* config, absl::Status* status) {
  config->activation = quick_gelu ? Activation::kQuickGelu : Activation::kGelu;
  if (const json* kwargs = tower.Find("act_kwargs"); kwargs != nullptr) {
    JsonReader act(*kwargs, file, path + ".act_kwargs");
    const std::string approximate = act.String("approximate", "none");
    if (approximate == "tanh") {
      config->activation = Activation::kGeluTanh;
    } else if (approximate != "none") {
      act.Fail("approximate", "must be \"none\" or \"tanh\"");
    }
    if (quick_gelu && act.Find("approximate") != nullptr)
      act.Fail("approximate", "does not go with quick_gelu");
    status->Update(act.Finish());
  }
  if (const json* kwargs = tower.Find("norm_kwargs"); kwargs != nullptr) {
    JsonReader norm(*kwargs, file, path + ".norm_kwargs");
    config->eps = norm.Number("eps", config->eps, 0, 1);
    status->Update(norm.Finish());
  }
}

// A tower of timm: what the weights do not say is in its name.
absl::Status ReadTimm(JsonReader& r, const std::string& file, OpenClipConfig* config) {
  config->timm_name = r.String("timm_model_name", "");
  const auto size = ReadSize(r, "image_size").value_or(std::make_pair(224, 224));
  config->vision.image_height = size.first;
  config->vision.image_width = size.second;
  const std::string proj = r.String("timm_proj", "");
  if (proj != "" && proj != "none") {
    Unsupported(r, "timm_proj", absl::StrCat("the projection \"", Printable(proj), "\" of a timm tower"));
  }
  config->timm_head = proj.empty();
  const std::string pool = r.String("timm_pool", "avg");
  if (pool != "map" && pool != "token" && pool != "avg" && pool != "") r.Fail("timm_pool", "is not known");
  r.Ignore({"timm_model_pretrained", "timm_proj_bias", "timm_drop", "timm_drop_path", "patch_dropout",
            "layers", "width", "head_width", "patch_size", "mlp_ratio"});
  if (r.status().ok()) {
    absl::Status known =
        CheckTimmName(config->timm_name, absl::StrCat(file, ": model_cfg.vision_cfg.timm_model_name"));
    if (!known.ok()) return known;
  }
  return r.Finish();
}

absl::Status ReadVision(const json& object, const std::string& file, bool quick_gelu, TowerConfig* config) {
  JsonReader r(object, file, "model_cfg.vision_cfg");
  absl::Status status;
  if (const json* layers = r.Find("layers"); layers != nullptr && layers->is_array()) {
    Unsupported(r, "layers", "a ResNet image tower (a list of layers)");
  }
  if (const json* pool = r.Find("attentional_pool"); pool != nullptr && *pool != json(false)) {
    Unsupported(r, "attentional_pool", "attentional pooling (CoCa)");
  }
  RefuseCustomBlock(r);
  if (!r.status().ok()) return r.status();

  config->layers = static_cast<int>(r.Int("layers", 12, 1, 512));
  config->width = static_cast<int>(r.Int("width", 768, 1, 1 << 16));
  config->patch = static_cast<int>(r.Int("patch_size", 16, 1, kLargestImage));
  const int64_t head_width = r.Int("head_width", 64, 1, 1 << 16);
  const double mlp_ratio = r.Number("mlp_ratio", 4.0, 1e-3, 64);
  const auto size = ReadSize(r, "image_size").value_or(std::make_pair(224, 224));
  config->image_height = size.first;
  config->image_width = size.second;
  config->ln_pre = !r.Bool("no_ln_pre", false);
  config->final_ln_after_pool = r.Bool("final_ln_after_pool", false);
  config->layer_scale = r.Find("ls_init_value") != nullptr;
  r.Number("ls_init_value", 0, -1e6, 1e6);
  const std::string pool = r.String("pool_type", "tok");
  config->pool = pool == "avg" ? Pool::kAverage : Pool::kToken;
  if (pool != "tok" && pool != "avg")
    r.Fail("pool_type", "must be \"tok\" or \"avg\" for one vector per image");
  if (r.Bool("output_tokens", false)) Unsupported(r, "output_tokens", "a tower that returns every token");
  const std::string positions =
      r.String("pos_embed_type", "learnable");  // both kinds are stored in the weights
  if (positions != "learnable" && positions != "sin_cos_2d") r.Fail("pos_embed_type", "is not known");
  ReadActivation(r, quick_gelu, file, "model_cfg.vision_cfg", config, &status);
  r.Ignore({"patch_dropout", "attn_pooler_queries", "attn_pooler_heads", "timm_model_pretrained", "timm_pool",
            "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path"});

  config->heads = static_cast<int>(config->width / head_width);
  config->mlp_width = static_cast<int>(config->width * mlp_ratio);
  if (config->heads < 1 || config->width % config->heads != 0) {
    r.Fail("head_width", absl::StrCat("does not divide width ", config->width, " into heads"));
  }
  if (config->patch > config->image_height || config->patch > config->image_width) {
    r.Fail("patch_size", "is larger than image_size");
  }
  if (config->mlp_width < 1) r.Fail("mlp_ratio", "leaves no MLP");
  if (absl::Status own = r.Finish(); !own.ok()) return own;
  return status;
}

absl::Status ReadPreprocess(const json& object, const std::string& file, ImageSpec* image) {
  JsonReader r(object, file, "preprocess_cfg");
  ReadSize(r, "size");  // open_clip overrides it with vision_cfg.image_size, whatever it says
  if (r.String("mode", "RGB") != "RGB") r.Fail("mode", "must be \"RGB\"");
  r.Channels("mean", /*positive=*/false, &image->mean);
  r.Channels("std", /*positive=*/true, &image->std);
  const std::string interpolation = r.String("interpolation", "bicubic");
  if (interpolation == "bilinear") {
    image->interpolation = Interpolation::kBilinear;
  } else if (interpolation != "bicubic" &&
             interpolation != "random") {  // "random" is bicubic outside training
    r.Fail("interpolation", "must be \"bicubic\" or \"bilinear\"");
  }
  const std::string mode = r.String("resize_mode", "shortest");
  if (mode == "longest") {
    image->resize_mode = ResizeMode::kLongest;
  } else if (mode == "squash") {
    image->resize_mode = ResizeMode::kSquash;
  } else if (mode != "shortest") {
    r.Fail("resize_mode", "must be \"shortest\", \"longest\" or \"squash\"");
  }
  image->fill = static_cast<int>(r.Int("fill_color", 0, 0, 255));
  // open_clip does not hand the interpolation on here: a target that is not square is always resized bicubic.
  if (image->resize_mode == ResizeMode::kShortest && image->height != image->width) {
    image->interpolation = Interpolation::kBicubic;
  }
  return r.FinishPassingOver();  // open_clip takes the keys that it knows
}

// Which tokenizer, and what happens to text before it. A mode that is not known leaves the tower unread.
bool ReadTokenizer(JsonReader& r, const std::string& file, TextSpec* spec, absl::Status* status) {
  const bool hf = r.Find("hf_tokenizer_name") != nullptr;
  spec->tokenizer = hf ? TokenizerKind::kTokenizerJson : TokenizerKind::kOpenClip;
  spec->cleaning = hf ? TextCleaning::kOpenClipWhitespace : TextCleaning::kOpenClipLower;
  if (r.Find("tokenizer_mode") != nullptr) return false;
  const json* kwargs = r.Find("tokenizer_kwargs");
  if (kwargs == nullptr) return true;
  JsonReader k(*kwargs, file, "model_cfg.text_cfg.tokenizer_kwargs");
  const std::string clean = k.String("clean", "");
  k.Ignore({"strip_sep_token", "reduction_mask"});
  status->Update(k.Finish());
  if (clean == "canonicalize") {
    spec->cleaning = TextCleaning::kOpenClipCanonicalize;
  } else if (clean == "lower") {
    spec->cleaning = TextCleaning::kOpenClipLower;
  } else if (clean == "whitespace") {
    spec->cleaning = TextCleaning::kOpenClipWhitespace;
  } else if (!clean.empty()) {
    return false;
  }
  return k.Find("strip_sep_token") == nullptr || !k.Bool("strip_sep_token", false);
}

// OpenCLIP's own text transformer. One that is another (of Hugging Face, CoCa's class token) is left unread:
// its images are served.
absl::Status ReadText(const json& object, const std::string& file, bool quick_gelu, OpenClipConfig* config) {
  JsonReader r(object, file, "model_cfg.text_cfg");
  absl::Status status;
  config->has_text = true;
  TowerConfig c;
  TextSpec spec;
  bool read = ReadTokenizer(r, file, &spec, &status);
  if (r.Find("hf_model_name") != nullptr) {
    config->text_prefix = true;
    read = false;
  }
  c.stem = Stem::kWords;
  c.ln_pre = c.class_token = false;
  c.pool = Pool::kPosition;
  c.width = static_cast<int>(r.Int("width", 512, 1, 1 << 16));
  c.heads = static_cast<int>(r.Int("heads", 8, 1, 1 << 12));
  c.layers = static_cast<int>(r.Int("layers", 12, 1, 512));
  c.mlp_width = static_cast<int>(c.width * r.Number("mlp_ratio", 4.0, 1e-3, 64));
  c.vocabulary = static_cast<int>(r.Int("vocab_size", 49408, 1, 1 << 24));
  c.context_length = static_cast<int>(r.Int("context_length", 77, 1, 1 << 16));
  c.causal = !r.Bool("no_causal_mask", false);
  c.layer_scale = r.Find("ls_init_value") != nullptr;
  c.embed_dim = config->embed_dim;
  c.projection_bias = r.Bool("proj_bias", false);
  const std::string proj = r.String("proj_type", "linear"), pool = r.String("pool_type", "argmax");
  if (proj == "none") c.projection = c.projection_bias = false;
  if (proj != "none" && proj != "linear") read = false;
  if (pool == "last") {
    spec.pooling = TextPooling::kLast;
  } else if (pool == "eos") {
    spec.pooling = TextPooling::kFirstEos;
    spec.eos_id = static_cast<int>(r.Int("eos_id", 2, 0, 1 << 24));
  } else if (pool != "argmax") {
    read = false;
  }
  for (const char* key :
       {"embed_cls", "final_ln_after_pool", "output_tokens", "qk_norm", "scaled_cosine_attn", "scale_heads",
        "scale_attn_inner", "scale_attn", "scale_fc"}) {
    if (r.Bool(key, false)) read = false;
  }
  if (r.String("block_type", "default") != "default") read = false;
  ReadActivation(r, quick_gelu, file, "model_cfg.text_cfg", &c, &status);
  r.Ignore({"ls_init_value", "pad_id", "eos_id", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type",
            "hf_tokenizer_name"});
  if (read && r.status().ok() && c.width % c.heads != 0)
    r.Fail("heads", absl::StrCat("does not divide width ", c.width));
  spec.context_length = c.context_length;
  spec.vocab_size = c.vocabulary;
  if (read) {
    config->text = c;
    config->text_spec = spec;
  }
  if (absl::Status own = r.Finish(); !own.ok()) return own;
  return status;
}

absl::Status ReadModel(const json& object, const std::string& file, OpenClipConfig* config) {
  JsonReader r(object, file, "model_cfg");
  if (r.Find("multimodal_cfg") != nullptr) Unsupported(r, "multimodal_cfg", "a CoCa model");
  if (r.Find("embed_dim") == nullptr) r.Fail("embed_dim", "is missing");
  const json* vision = r.Find("vision_cfg");
  if (vision == nullptr) r.Fail("vision_cfg", "is missing");
  const int embed_dim = static_cast<int>(r.Int("embed_dim", 512, 1, 1 << 16));
  const bool quick_gelu = r.Bool("quick_gelu", false);
  config->text_prefix = r.Bool("custom_text", false);
  const json* text = r.Find("text_cfg");
  r.Ignore({"init_logit_scale", "init_logit_bias", "nonscalar_logit_scale", "output_dict", "cast_dtype"});
  if (!r.status().ok()) return r.status();
  config->embed_dim = config->vision.embed_dim = embed_dim;
  if (vision->is_object() && vision->contains("timm_model_name") && !(*vision)["timm_model_name"].is_null()) {
    JsonReader timm(*vision, file, "model_cfg.vision_cfg");
    if (absl::Status s = ReadTimm(timm, file, config); !s.ok()) return s;
  } else if (absl::Status s = ReadVision(*vision, file, quick_gelu, &config->vision); !s.ok()) {
    return s;
  }
  if (text != nullptr) {
    if (absl::Status s = ReadText(*text, file, quick_gelu, config); !s.ok()) return s;
  }
  return r.Finish();
}

}  // namespace

absl::StatusOr<OpenClipConfig> ParseOpenClipConfig(absl::string_view text, const std::string& file) {
  absl::StatusOr<json> parsed = ParseJson(text, file);
  if (!parsed.ok()) return parsed.status();
  OpenClipConfig config;
  JsonReader r(*parsed, file);
  const json* model = r.Find("model_cfg");
  if (model == nullptr) r.Fail("model_cfg", "is missing");
  const json* preprocess = r.Find("preprocess_cfg");
  if (absl::Status status = r.FinishPassingOver(); !status.ok()) return status;

  absl::Status status = ReadModel(*model, file, &config);
  if (!status.ok()) return status;
  config.image.height = config.vision.image_height;
  config.image.width = config.vision.image_width;
  const json nothing = json::object();
  status = ReadPreprocess(preprocess == nullptr ? nothing : *preprocess, file, &config.image);
  if (!status.ok()) return status;
  return config;
}

TowerLayout OpenClipImageLayout() { return {"visual.", "transformer.resblocks.", {}}; }

TowerLayout OpenClipTextLayout(const OpenClipConfig& config) {
  TowerLayout layout{config.text_prefix ? "text." : "", "transformer.resblocks.", {}};
  const bool linear = config.text.has_value() && config.text->projection_bias;
  layout.names = {{"ln_post", "ln_final"},
                  {"proj", linear ? "text_projection.weight^T" : "text_projection"},
                  {"proj_bias", "text_projection.bias"}};
  return layout;
}

bool IsUnusedOpenClipTensor(const OpenClipConfig& config, absl::string_view name) {
  // open_clip drops the last three, which old TorchScript archives carried.
  for (absl::string_view known :
       {"logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size"}) {
    if (name == known) return true;
  }
  if (absl::EndsWith(name, ".num_batches_tracked")) return true;  // counts of BatchNorm's training
  if (!config.has_text) return false;
  if (config.text_prefix && absl::StartsWith(name, "text.")) return true;
  // open_clip also takes the names without prefix for a custom text tower (weights saved by an older
  // version).
  for (absl::string_view known :
       {"positional_embedding", "token_embedding.weight", "text_projection", "text_projection.weight",
        "text_projection.bias", "ln_final.weight", "ln_final.bias", "attn_mask", "cls_emb"}) {
    if (name == known) return true;
  }
  return absl::StartsWith(name, "transformer.resblocks.");
}

}  // namespace embedd
