// SPDX-License-Identifier: Apache-2.0

#include "server/model/timm_config.h"

#include <cmath>

#include "server/model/json_reader.h"

namespace embedd {
namespace {

using nlohmann::json;

constexpr int64_t kLargestImage = 4096;

// [3, height, width]
void ReadInputSize(JsonReader& r, ImageSpec* image) {
  const json* value = r.Find("input_size");
  if (value == nullptr) return;  // 224, as timm has it
  bool good = value->is_array() && value->size() == 3 && (*value)[0] == 3;
  for (size_t i = 1; good && i < 3; ++i) {
    good = (*value)[i].is_number_unsigned() && (*value)[i].get<uint64_t>() >= 1 &&
           (*value)[i].get<uint64_t>() <= uint64_t{kLargestImage};
  }
  if (!good) return r.Fail("input_size", "must be [3, HEIGHT, WIDTH]");
  image->height = (*value)[1].get<int>();
  image->width = (*value)[2].get<int>();
}

// The evaluation transform of timm: resized by 1 / crop_pct, then the middle cut out.
void ReadGeometry(JsonReader& r, ImageSpec* image) {
  const std::string interpolation = r.String("interpolation", "bicubic");
  if (interpolation == "bilinear") {
    image->interpolation = Interpolation::kBilinear;
  } else if (interpolation != "bicubic") {
    r.Fail("interpolation", "must be \"bicubic\" or \"bilinear\"", absl::StatusCode::kUnimplemented);
  }
  const double crop = r.Number("crop_pct", 0.875, 1e-3, 1);
  const std::string mode = r.String("crop_mode", "center");
  if (mode == "squash") {
    image->resize_mode = ResizeMode::kSquash;
    if (crop != 1) r.Fail("crop_pct", "must be 1 with crop_mode squash", absl::StatusCode::kUnimplemented);
    return;
  }
  if (mode != "center") {
    r.Fail("crop_mode", "must be \"center\" or \"squash\"", absl::StatusCode::kUnimplemented);
  } else if (image->height != image->width) {
    r.Fail("input_size", "must be square with crop_mode center", absl::StatusCode::kUnimplemented);
  } else if (const int resize = static_cast<int>(std::floor(image->height / crop)); resize != image->height) {
    image->resize = resize;
  }
}

}  // namespace

bool IsTimmConfig(absl::string_view text) {
  const json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return parsed.is_object() && parsed.contains("architecture") && !parsed.contains("model_type");
}

absl::StatusOr<TimmFolderConfig> ParseTimmConfig(absl::string_view text, const std::string& file) {
  absl::StatusOr<json> parsed = ParseJson(text, file);
  if (!parsed.ok()) return parsed.status();
  JsonReader top(*parsed, file);
  TimmFolderConfig config;
  config.architecture = top.String("architecture", "");
  const std::string pool = top.String("global_pool", "token");
  if (pool == "avg") config.pool = Pool::kAverage;
  if (pool == "map") config.pool = Pool::kAttention;
  if (pool != "token" && pool != "avg" && pool != "map") {
    top.Fail("global_pool", "must be \"token\", \"avg\" or \"map\" for one vector per image",
             absl::StatusCode::kUnimplemented);
  }
  const json* cfg = top.Find("pretrained_cfg");
  const json* arguments = top.Find("model_args");
  if (!top.status().ok()) return top.status();
  static const auto* const kEmpty = new json(json::object());
  JsonReader r(cfg == nullptr ? *kEmpty : *cfg, file, "pretrained_cfg");
  ReadInputSize(r, &config.image);
  config.image.mean = {0.485f, 0.456f, 0.406f};
  config.image.std = {0.229f, 0.224f, 0.225f};
  r.Channels("mean", /*positive=*/false, &config.image.mean);
  r.Channels("std", /*positive=*/true, &config.image.std);
  ReadGeometry(r, &config.image);
  if (!r.status().ok()) return r.status();
  // What changes the model beyond its name; sizes are in the tensors.
  if (arguments != nullptr && !arguments->empty()) {
    JsonReader a(*arguments, file, "model_args");
    a.Ignore(
        {"img_size", "embed_dim", "depth", "num_classes", "global_pool", "dynamic_img_size", "reg_tokens"});
    a.Int("in_chans", 3, 3, 3);
    config.heads = static_cast<int>(a.Int("num_heads", 0, 0, 1 << 12));
    if (absl::Status status = a.Finish(); !status.ok()) return status;
  }
  return config;
}

}  // namespace embedd
