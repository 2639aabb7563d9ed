// SPDX-License-Identifier: Apache-2.0

#include "server/model/open_clip_config.h"

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

namespace embedd {
namespace {

using nlohmann::json;

json Base() {
  return json::parse(R"({"model_cfg": {"embed_dim": 512, "vision_cfg": {"patch_size": 32},
                         "text_cfg": {"context_length": 77}}, "preprocess_cfg": {}})");
}

// `text` merged into a good config, as JSON merge patch does it.
absl::StatusOr<OpenClipConfig> Parse(const std::string& patch) {
  json config = Base();
  config.merge_patch(json::parse(patch));
  return ParseOpenClipConfig(config.dump(), "f.json");
}

std::string Problem(const std::string& patch) {
  const auto config = Parse(patch);
  return config.ok() ? "" : std::string(config.status().message());
}

TEST_CASE("Keys that are absent take OpenCLIP's defaults") {
  const auto config = ParseOpenClipConfig(R"({"model_cfg": {"embed_dim": 512, "vision_cfg": {}}})", "f.json");
  REQUIRE(config.ok());
  const TowerConfig& v = config->vision;
  CHECK(v.layers == 12);
  CHECK(v.width == 768);
  CHECK(v.heads == 12);
  CHECK(v.mlp_width == 3072);
  CHECK(v.patch == 16);
  CHECK(v.image_height == 224);
  CHECK(v.activation == Activation::kGelu);
  CHECK(v.eps == 1e-5);
  CHECK((v.ln_pre && !v.layer_scale && !v.final_ln_after_pool && v.pool == Pool::kToken));
  CHECK(config->image.resize_mode == ResizeMode::kShortest);
  CHECK(config->image.interpolation == Interpolation::kBicubic);
  CHECK(config->image.crop_rounding == CropRounding::kHalfEven);
  CHECK(config->image.mean[0] == 0.48145466f);
  CHECK_FALSE(config->has_text);
}

TEST_CASE("Every option of a native vision transformer is read") {
  const auto config = Parse(R"({"model_cfg": {"embed_dim": 96, "vision_cfg": {"layers": 40, "width": 1408,
      "head_width": 88, "mlp_ratio": 4.3637, "patch_size": 14, "image_size": [126, 224], "ls_init_value": 1e-4,
      "no_ln_pre": true, "final_ln_after_pool": true, "pool_type": "avg", "act_kwargs": {"approximate": "tanh"},
      "norm_kwargs": {"eps": 1e-6}, "patch_dropout": 0.5, "pos_embed_type": "sin_cos_2d", "timm_model_name": null}}})");
  REQUIRE(config.ok());
  const TowerConfig& v = config->vision;
  CHECK(v.layers == 40);
  CHECK(v.heads == 16);
  CHECK(v.mlp_width == 6144);
  CHECK(v.grid_height() == 9);
  CHECK(v.tokens() == 1 + 9 * 16);
  CHECK(v.embed_dim == 96);
  CHECK(v.activation == Activation::kGeluTanh);
  CHECK(v.eps == 1e-6);
  CHECK((!v.ln_pre && v.layer_scale && v.final_ln_after_pool && v.pool == Pool::kAverage));
  CHECK(config->image.height == 126);
  CHECK(config->image.width == 224);
  CHECK(Parse(R"({"model_cfg": {"quick_gelu": true}})")->vision.activation == Activation::kQuickGelu);
}

TEST_CASE("The image comes out at vision_cfg.image_size, whatever preprocess_cfg.size says") {
  const auto config =
      Parse(R"({"model_cfg": {"vision_cfg": {"image_size": 256}}, "preprocess_cfg": {"size": [64, 32]}})");
  REQUIRE(config.ok());
  CHECK(config->image.height == 256);
  CHECK(config->image.width == 256);
}

TEST_CASE("Preprocessing takes mean and std as one number or three, and every resize mode") {
  auto config = Parse(R"({"preprocess_cfg": {"mean": 0.5, "std": [0.1, 0.2, 0.3], "interpolation": "bilinear",
                          "resize_mode": "squash", "fill_color": 7, "mode": "RGB"}})");
  REQUIRE(config.ok());
  CHECK(config->image.mean == std::array<float, 3>{0.5f, 0.5f, 0.5f});
  CHECK(config->image.std == std::array<float, 3>{0.1f, 0.2f, 0.3f});
  CHECK(config->image.interpolation == Interpolation::kBilinear);
  CHECK(config->image.resize_mode == ResizeMode::kSquash);
  CHECK(config->image.fill == 7);
  config = Parse(R"({"preprocess_cfg": {"resize_mode": "longest", "interpolation": "random"}})");
  REQUIRE(config.ok());
  CHECK(config->image.resize_mode == ResizeMode::kLongest);
  CHECK(config->image.interpolation == Interpolation::kBicubic);
}

TEST_CASE(
    "Shortest with a target that is not square is bicubic, since OpenCLIP does not hand the interpolation "
    "on") {
  const std::string size = R"({"model_cfg": {"vision_cfg": {"image_size": [224, 128]}}, "preprocess_cfg": )";
  CHECK(Parse(size + R"({"interpolation": "bilinear"}})")->image.interpolation == Interpolation::kBicubic);
  CHECK(Parse(size + R"({"interpolation": "bilinear", "resize_mode": "squash"}})")->image.interpolation ==
        Interpolation::kBilinear);
}

TEST_CASE("What is wrong is named by file and key") {
  const auto [patch, message] = GENERATE(table<std::string, std::string>({
      {R"({"model_cfg": null})", "f.json: model_cfg: is missing"},
      {R"({"model_cfg": {"embed_dim": null}})", "f.json: model_cfg.embed_dim: is missing"},
      {R"({"model_cfg": {"vision_cfg": null}})", "f.json: model_cfg.vision_cfg: is missing"},
      {R"({"model_cfg": {"vision_cfg": 3}})", "f.json: model_cfg.vision_cfg: must be an object"},
      {R"({"model_cfg": {"quick_glu": true}})", "f.json: model_cfg.quick_glu: unknown key"},
      {R"({"model_cfg": {"vision_cfg": {"patchsize": 3}}})",
       "f.json: model_cfg.vision_cfg.patchsize: unknown key"},
      {R"({"model_cfg": {"text_cfg": {"contextlength": 3}}})",
       "f.json: model_cfg.text_cfg.contextlength: unknown"},
      {R"({"model_cfg": {"vision_cfg": {"act_kwargs": {"x": 1}}}})", "vision_cfg.act_kwargs.x: unknown key"},
      {R"({"model_cfg": {"vision_cfg": {"norm_kwargs": {"bias": false}}}})",
       "vision_cfg.norm_kwargs.bias: unknown key"},
      {R"({"model_cfg": {"vision_cfg": {"layers": "12"}}})", "vision_cfg.layers: must be a whole number"},
      {R"({"model_cfg": {"vision_cfg": {"layers": 0}}})", "vision_cfg.layers: must be a whole number"},
      {R"({"model_cfg": {"vision_cfg": {"width": 18446744073709551615}}})", "vision_cfg.width: must be"},
      {R"({"model_cfg": {"vision_cfg": {"width": 100, "head_width": 30}}})",
       "head_width: does not divide width 100"},
      {R"({"model_cfg": {"vision_cfg": {"patch_size": 300}}})",
       "vision_cfg.patch_size: is larger than image_size"},
      {R"({"model_cfg": {"vision_cfg": {"image_size": [1, 2, 3]}}})",
       "vision_cfg.image_size: must be a size"},
      {R"({"model_cfg": {"vision_cfg": {"pool_type": "none"}}})", "vision_cfg.pool_type: must be"},
      {R"({"model_cfg": {"vision_cfg": {"no_ln_pre": 1}}})", "vision_cfg.no_ln_pre: must be true or false"},
      {R"({"preprocess_cfg": {"std": 0}})", "preprocess_cfg.std: must be a positive number"},
      {R"({"preprocess_cfg": {"mean": [1, 2]}})", "preprocess_cfg.mean: must be a number"},
      {R"({"preprocess_cfg": {"interpolation": "nearest"}})", "preprocess_cfg.interpolation: must be"},
      {R"({"preprocess_cfg": {"resize_mode": "crop"}})", "preprocess_cfg.resize_mode: must be"},
      {R"({"preprocess_cfg": {"fill_color": 256}})", "preprocess_cfg.fill_color: must be"},
      {R"({"preprocess_cfg": {"mode": "L"}})", "preprocess_cfg.mode: must be"},
  }));
  CHECK_THAT(Problem(patch), ContainsSubstring(message));
}

TEST_CASE("Keys that open_clip passes over are passed over; those that it trips over are not") {
  CHECK(Parse(R"({"license": "mit", "preprocess_cfg": {"crop_pct": 0.9, "num_channels": 3}})").ok());
  CHECK_FALSE(Parse(R"({"model_cfg": {"license": "mit"}})").ok());
}

TEST_CASE("A family the server cannot run is named as such, with what to choose instead") {
  const std::string patch =
      GENERATE(as<std::string>(), R"({"timm_model_name": "vit_base"})", R"({"layers": [3, 4, 6, 3]})",
               R"({"attentional_pool": true})", R"({"attentional_pool": "parallel"})", R"({"qk_norm": true})",
               R"({"block_type": "custom"})", R"({"output_tokens": true})");
  const auto config = Parse(R"({"model_cfg": {"vision_cfg": )" + patch + "}}");
  CHECK(config.status().code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(config.status().message()),
             ContainsSubstring("f.json: model_cfg.vision_cfg.") && ContainsSubstring("Choose"));
  CHECK(Parse(R"({"model_cfg": {"multimodal_cfg": {}}})").status().code() ==
        absl::StatusCode::kUnimplemented);
  CHECK(Parse(R"({"model_cfg": {"vision_cfg": {"attentional_pool": false, "qk_norm": false}}})").ok());
}

TEST_CASE("A Hugging Face text tower does not matter, since only the image tower is used") {
  const auto config = Parse(R"({"model_cfg": {"text_cfg": {"hf_model_name": "xlm-roberta-base"}}})");
  REQUIRE(config.ok());
  CHECK(IsUnusedOpenClipTensor(*config, "text.transformer.embeddings.word_embeddings.weight"));
  CHECK_FALSE(IsUnusedOpenClipTensor(*config, "visual.head.weight"));
}

TEST_CASE("Tensors of a text tower are expected only where the config has one") {
  const auto with = Parse("{}"), without = Parse(R"({"model_cfg": {"text_cfg": null}})");
  REQUIRE(with.ok());
  REQUIRE(without.ok());
  for (const char* name :
       {"transformer.resblocks.0.ln_1.weight", "token_embedding.weight", "ln_final.bias"}) {
    CHECK(IsUnusedOpenClipTensor(*with, name));
    CHECK_FALSE(IsUnusedOpenClipTensor(*without, name));
  }
  CHECK(IsUnusedOpenClipTensor(*without, "logit_scale"));
  CHECK_FALSE(IsUnusedOpenClipTensor(*with, "text.ln_final.bias"));
  CHECK_FALSE(IsUnusedOpenClipTensor(*with, "head.weight"));
}

TEST_CASE("Text that is not JSON, or hides a key behind another of the same name, is refused") {
  CHECK_THAT(std::string(ParseOpenClipConfig("{", "f.json").status().message()),
             ContainsSubstring("f.json: is not valid JSON"));
  CHECK_THAT(
      std::string(ParseOpenClipConfig(R"({"model_cfg": {}, "model_cfg": {}})", "f.json").status().message()),
      ContainsSubstring("twice"));
  CHECK_THAT(std::string(ParseOpenClipConfig("[]", "f.json").status().message()),
             ContainsSubstring("must be an object"));
}

}  // namespace
}  // namespace embedd
