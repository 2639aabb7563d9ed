// SPDX-License-Identifier: Apache-2.0

#include "server/model/hf_clip_config.h"

#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

using nlohmann::json;

constexpr int64_t kLargestImage = 4096;

// {"height": h, "width": w}, or one number for both. {0, 0} when absent or wrong.
std::pair<int, int> ReadSize(JsonReader& reader, absl::string_view key, const std::string& file) {
  const json* value = reader.Find(key);
  if (value == nullptr) return {0, 0};
  if (!value->is_object()) {
    const int side = static_cast<int>(reader.Int(key, 0, 1, kLargestImage));
    return {side, side};
  }
  JsonReader size(*value, file, std::string(key));
  const std::pair<int, int> read = {static_cast<int>(size.Int("height", 0, 1, kLargestImage)),
                                    static_cast<int>(size.Int("width", 0, 1, kLargestImage))};
  if (!size.status().ok()) reader.Fail(key, size.status().message());
  return read;
}

void ReadChannels(JsonReader& reader, absl::string_view key, bool positive, std::array<float, 3>* out) {
  const json* value = reader.Find(key);
  if (value == nullptr) return;
  bool good = value->is_array() && value->size() == 3;
  for (size_t c = 0; good && c < 3; ++c) {
    good = (*value)[c].is_number() && std::abs((*value)[c].get<double>()) < 1e6 &&
           (!positive || (*value)[c].get<double>() > 0);
    if (good) (*out)[c] = (*value)[c].get<float>();
  }
  if (!good)
    reader.Fail(key, absl::StrCat("must be a list of three ", positive ? "positive " : "", "numbers"));
}

// Steps that a CLIP processor can leave out; the server always does them.
void RequireSteps(JsonReader& reader) {
  for (absl::string_view step : {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"}) {
    if (!reader.Bool(step, true)) reader.Fail(step, "must be true", absl::StatusCode::kUnimplemented);
  }
}

}  // namespace

absl::StatusOr<VisionConfig> ParseHfClipConfig(absl::string_view text, const std::string& file) {
  absl::StatusOr<json> parsed = ParseJson(text, file);
  if (!parsed.ok()) return parsed.status();
  JsonReader top(*parsed, file);
  const std::string type = top.String("model_type", "");
  if (top.status().ok() && type != "clip" && type != "clip_vision_model") {
    top.Fail("model_type",
             absl::StrCat("is \"", Printable(type),
                          "\"; this server reads \"clip\" folders, and OpenCLIP folders, which "
                          "have an open_clip_config.json"),
             absl::StatusCode::kUnimplemented);
  }
  VisionConfig config;
  config.embed_dim = static_cast<int>(top.Int("projection_dim", 512, 1, 1 << 16));

  const json nothing = json::object();
  const json* vision = type == "clip_vision_model" ? &*parsed : top.Find("vision_config");
  std::string path = type == "clip_vision_model" ? "" : "vision_config";
  if (const json* old = top.Find("vision_config_dict"); old != nullptr) {  // wins, as in transformers
    vision = old;
    path = "vision_config_dict";
  }
  if (!top.status().ok()) return top.status();
  JsonReader r(vision == nullptr ? nothing : *vision, file, path);
  config.width = static_cast<int>(r.Int("hidden_size", 768, 1, 1 << 16));
  config.mlp_width = static_cast<int>(r.Int("intermediate_size", 3072, 1, 1 << 20));
  config.layers = static_cast<int>(r.Int("num_hidden_layers", 12, 1, 512));
  config.heads = static_cast<int>(r.Int("num_attention_heads", 12, 1, 1 << 12));
  config.image_height = config.image_width = static_cast<int>(r.Int("image_size", 224, 1, kLargestImage));
  config.patch = static_cast<int>(r.Int("patch_size", 32, 1, config.image_height));
  r.Int("num_channels", 3, 3, 3);
  config.eps = r.Number("layer_norm_eps", 1e-5, 0, 1);
  const std::string activation = r.String("hidden_act", "quick_gelu");
  if (activation == "quick_gelu") {
    config.activation = Activation::kQuickGelu;
  } else if (activation == "gelu_pytorch_tanh" || activation == "gelu_new") {
    config.activation = Activation::kGeluTanh;
  } else if (activation != "gelu") {
    r.Fail("hidden_act", absl::StrCat("\"", Printable(activation), "\" is not supported"),
           absl::StatusCode::kUnimplemented);
  }
  if (r.status().ok() && config.width % config.heads != 0) {
    r.Fail("num_attention_heads", absl::StrCat("does not divide hidden_size ", config.width));
  }
  if (!r.status().ok()) return r.status();
  return config;
}

absl::StatusOr<ImageSpec> ParseHfPreprocessor(absl::string_view text, const std::string& file,
                                              const VisionConfig& vision) {
  absl::StatusOr<json> parsed = ParseJson(text, file);
  if (!parsed.ok()) return parsed.status();
  JsonReader top(*parsed, file);
  const json* nested = top.Find("image_processor");  // in a processor_config.json
  if (!top.status().ok()) return top.status();
  JsonReader r(nested == nullptr ? *parsed : *nested, file, nested == nullptr ? "" : "image_processor");
  ImageSpec image;
  image.height = vision.image_height;
  image.width = vision.image_width;
  image.crop_rounding = CropRounding::kFloor;
  RequireSteps(r);
  ReadChannels(r, "image_mean", /*positive=*/false, &image.mean);
  ReadChannels(r, "image_std", /*positive=*/true, &image.std);
  const int64_t resample = r.Int("resample", 3, 0, 5);  // numbers of PIL.Image.Resampling
  if (resample == 2) image.interpolation = Interpolation::kBilinear;
  if (resample != 2 && resample != 3) {
    r.Fail("resample", "must be 3 (bicubic) or 2 (bilinear)", absl::StatusCode::kUnimplemented);
  }
  if (std::abs(r.Number("rescale_factor", 1.0 / 255, 0, 1) - 1.0 / 255) > 1e-9) {
    r.Fail("rescale_factor", "must be 1/255", absl::StatusCode::kUnimplemented);
  }

  const json* size = r.Find("size");
  const bool squash = size != nullptr && size->is_object() && size->contains("height");
  std::pair<int, int> crop = ReadSize(r, "crop_size", file);
  if (crop.first == 0) crop = {224, 224};
  if (!r.Bool("do_center_crop", true)) {
    // After a resize to both sides there is nothing to crop; after one to the shortest edge there is.
    if (squash) {
      crop = ReadSize(r, "size", file);
    } else {
      r.Fail("do_center_crop", "must be true, unless size has a height and a width",
             absl::StatusCode::kUnimplemented);
    }
  }
  if (squash) {
    image.resize_mode = ResizeMode::kSquash;
    if (ReadSize(r, "size", file) != crop)
      r.Fail("size", "must equal crop_size", absl::StatusCode::kUnimplemented);
  } else {
    int64_t shortest = 224;
    if (size != nullptr && size->is_object()) {
      JsonReader inner(*size, file, "size");
      shortest = inner.Int("shortest_edge", 224, 1, kLargestImage);
      if (!inner.status().ok()) return inner.status();
    } else {
      shortest = r.Int("size", 224, 1, kLargestImage);
    }
    if (shortest != crop.first || shortest != crop.second) {
      r.Fail("size", "the shortest edge must equal crop_size", absl::StatusCode::kUnimplemented);
    }
  }
  if (r.status().ok() && crop != std::make_pair(image.height, image.width)) {
    r.Fail(squash ? "size" : "crop_size",
           absl::StrCat("is ", crop.first, "x", crop.second, ", the image tower takes ", image.height, "x",
                        image.width));
  }
  if (!r.status().ok()) return r.status();
  return image;
}

StoredName HfStoredName(const std::string& name, const std::string& prefix) {
  static const auto* const kTop = new std::map<std::string, std::string>{
      {"class_embedding", "embeddings.class_embedding"},
      {"positional_embedding", "embeddings.position_embedding.weight"},
      {"conv1.weight", "embeddings.patch_embedding.weight"},
      {"ln_pre.weight", "pre_layrnorm.weight"},  // spelled so in transformers
      {"ln_pre.bias", "pre_layrnorm.bias"},
      {"ln_post.weight", "post_layernorm.weight"},
      {"ln_post.bias", "post_layernorm.bias"},
  };
  static const auto* const kBlock = new std::map<std::string, std::string>{
      {"ln_1", "layer_norm1"}, {"ln_2", "layer_norm2"},   {"attn.out_proj", "self_attn.out_proj"},
      {"mlp.c_fc", "mlp.fc1"}, {"mlp.c_proj", "mlp.fc2"},
  };
  if (name == "proj") return {{"visual_projection.weight"}, /*transposed=*/true};
  if (const auto it = kTop->find(name); it != kTop->end()) return {{prefix + it->second}, false};

  absl::string_view rest = name;
  absl::ConsumePrefix(&rest, "transformer.resblocks.");
  const std::pair<std::string, std::string> split = absl::StrSplit(rest, absl::MaxSplits('.', 1));
  const std::string block = absl::StrCat(prefix, "encoder.layers.", split.first, ".");
  if (absl::StartsWith(split.second, "attn.in_proj_")) {
    const std::string kind = split.second.substr(absl::string_view("attn.in_proj_").size());
    StoredName qkv;
    for (const char* piece : {"q", "k", "v"}) {
      qkv.parts.push_back(absl::StrCat(block, "self_attn.", piece, "_proj.", kind));
    }
    return qkv;
  }
  const size_t dot = split.second.rfind('.');
  return {{absl::StrCat(block, kBlock->at(split.second.substr(0, dot)), split.second.substr(dot))}, false};
}

bool IsUnusedHfTensor(absl::string_view name) {
  return name == "logit_scale" || name == "text_projection.weight" || absl::StartsWith(name, "text_model.") ||
         absl::EndsWith(name, "embeddings.position_ids");
}

}  // namespace embedd
