// SPDX-License-Identifier: Apache-2.0

#include "tests/support/random_model.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/model/hf_config.h"

namespace embedd {
namespace {

using nlohmann::json;

// SplitMix64: small, and the same everywhere, unlike the standard library's distributions.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  // Uniform in [-1, 1).
  float Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<float>(static_cast<int32_t>((z ^ (z >> 31)) >> 32)) * 0x1p-31f;
  }

 private:
  uint64_t state_;
};

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  return out ? absl::OkStatus() : absl::UnavailableError(absl::StrCat(path, ": cannot be written"));
}

// The weight of a product over `fan_in` inputs keeps the variance of what goes through it.
float Spread(const std::string& name, const std::vector<int64_t>& shape) {
  if (name == "proj") return std::sqrt(3.0f / static_cast<float>(shape[0]));
  if (name == "positional_embedding" || name == "class_embedding") return 0.5f;
  if (shape.size() == 1) return 0.1f;
  float fan_in = 1;
  for (size_t i = 1; i < shape.size(); ++i) fan_in *= static_cast<float>(shape[i]);
  return std::sqrt(3.0f / fan_in);
}

}  // namespace

absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, HostTensor>& tensors,
                              bool as_f64) {
  json header = json::object();
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const uint64_t end = offset + tensor.values.size() * (as_f64 ? sizeof(double) : sizeof(float));
    header[name] = {
        {"dtype", as_f64 ? "F64" : "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), sizeof(size));
  out << text;
  for (const auto& [name, tensor] : tensors) {
    const std::vector<double> doubles(tensor.values.begin(), tensor.values.end());
    if (as_f64) {
      out.write(reinterpret_cast<const char*>(doubles.data()),
                static_cast<std::streamsize>(doubles.size() * sizeof(double)));
    } else {
      out.write(reinterpret_cast<const char*>(tensor.values.data()),
                static_cast<std::streamsize>(tensor.values.size() * sizeof(float)));
    }
  }
  out.close();
  return out ? absl::OkStatus() : absl::UnavailableError(absl::StrCat(path, ": cannot be written"));
}

std::map<std::string, HostTensor> RandomWeights(const TowerConfig& config, uint64_t seed) {
  Random random(seed);
  std::map<std::string, HostTensor> tensors;
  for (const auto& [name, shape] : TowerTensors(config)) {
    HostTensor& tensor = tensors[name];
    tensor.shape = shape;
    int64_t count = 1;
    for (int64_t dim : shape) count *= dim;
    tensor.values.resize(static_cast<size_t>(count));
    const bool norm = absl::StrContains(name, "ln_") && absl::EndsWith(name, ".weight");
    const float centre = norm ? 1.0f : absl::EndsWith(name, ".gamma") ? 0.5f : 0.0f;
    const float spread = Spread(name, shape);
    for (float& value : tensor.values) value = centre + spread * random.Next();
  }
  return tensors;
}

std::string OpenClipConfigJson(const TowerConfig& c) {
  // OpenCLIP truncates width * mlp_ratio: half a unit more keeps a ratio that is not exact from losing one.
  const double mlp_width = c.mlp_width % c.width == 0 ? c.mlp_width : c.mlp_width + 0.5;
  json vision = {{"layers", c.layers},
                 {"width", c.width},
                 {"head_width", c.width / c.heads},
                 {"mlp_ratio", mlp_width / c.width},
                 {"patch_size", c.patch},
                 {"no_ln_pre", !c.ln_pre},
                 {"final_ln_after_pool", c.final_ln_after_pool},
                 {"pool_type", c.pool == Pool::kAverage ? "avg" : "tok"},
                 {"norm_kwargs", {{"eps", c.eps}}}};
  if (c.image_height == c.image_width) {
    vision["image_size"] = c.image_width;
  } else {
    vision["image_size"] = {c.image_height, c.image_width};
  }
  if (c.layer_scale) vision["ls_init_value"] = 1e-4;
  if (c.activation == Activation::kGeluTanh) vision["act_kwargs"] = {{"approximate", "tanh"}};
  const json model = {
      {"embed_dim", c.embed_dim},
      {"quick_gelu", c.activation == Activation::kQuickGelu},
      {"vision_cfg", vision},
      {"text_cfg", {{"context_length", 77}, {"vocab_size", 49408}, {"width", 512}, {"heads", 8}}}};
  return json{{"model_cfg", model},
              {"preprocess_cfg", {{"interpolation", "bicubic"}, {"resize_mode", "shortest"}}}}
      .dump(2);
}

absl::Status WriteRandomModel(const std::string& folder, const TowerConfig& config, uint64_t seed) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::UnavailableError(absl::StrCat(folder, ": ", error.message()));
  std::map<std::string, HostTensor> tensors;
  for (auto& [name, tensor] : RandomWeights(config, seed)) tensors["visual." + name] = std::move(tensor);
  absl::Status status = WriteFile(folder + "/open_clip_config.json", OpenClipConfigJson(config));
  if (status.ok()) status = WriteSafetensors(folder + "/open_clip_model.safetensors", tensors);
  return status;
}

absl::Status WriteNaflexModel(const std::string& folder, uint64_t seed) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::UnavailableError(absl::StrCat(folder, ": ", error.message()));
  const std::string config = json{
      {"model_type", "siglip2_vision_model"},
      {"hidden_size", 64},
      {"intermediate_size", 128},
      {"num_hidden_layers", 2},
      {"num_attention_heads", 2},
      {"patch_size", 8},
      {"num_patches", 16}}.dump(2);
  const json processor = {
      {"image_processor_type", "Siglip2ImageProcessor"}, {"patch_size", 8}, {"max_num_patches", 24}};
  const absl::StatusOr<HfModel> model = ParseHfConfig(config, "config.json");
  if (!model.ok()) return model.status();
  TowerLayout layout = HfImageLayout(*model);
  layout.prefix = "vision_model.";
  std::map<std::string, HostTensor> stored;
  for (const auto& [name, tensor] : RandomWeights(model->image, seed)) {
    const std::vector<std::string> parts = Spell(layout, model->image, name).parts;
    const auto share = static_cast<std::ptrdiff_t>(tensor.values.size() / parts.size());
    auto from = tensor.values.begin();
    for (const std::string& part : parts) {
      HostTensor& piece = stored[part];
      piece.shape = tensor.shape;
      piece.shape[0] /= static_cast<int64_t>(parts.size());
      piece.values.assign(from, from + share);
      from += share;
    }
  }
  absl::Status status = WriteFile(folder + "/config.json", config);
  if (status.ok()) status = WriteFile(folder + "/preprocessor_config.json", processor.dump(2));
  if (status.ok()) status = WriteSafetensors(folder + "/model.safetensors", stored);
  return status;
}

}  // namespace embedd
