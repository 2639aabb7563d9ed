// SPDX-License-Identifier: Apache-2.0

#include "server/model/hf_config.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

std::string ConfigProblem(const std::string& text) {
  return std::string(ParseHfConfig(text, "config.json").status().message());
}
std::string PreprocessorProblem(const std::string& text) {
  return std::string(ParseHfPreprocessor(text, "p.json", TowerConfig{}).status().message());
}

TEST_CASE("Keys that are absent take the defaults of transformers, where the activation is QuickGELU") {
  const auto config = ParseHfConfig(R"({"model_type": "clip", "torch_dtype": "float32"})", "config.json");
  REQUIRE(config.ok());
  CHECK(config->image.width == 768);
  CHECK(config->image.layers == 12);
  CHECK(config->image.patch == 32);
  CHECK(config->image.embed_dim == 512);
  CHECK(config->image.activation == Activation::kQuickGelu);
}

TEST_CASE("The vision part is read, from wherever the model keeps it") {
  const std::string vision = R"("hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
      "num_attention_heads": 16, "image_size": 336, "patch_size": 14, "hidden_act": "gelu", "layer_norm_eps": 1e-6)";
  for (const std::string& text :
       {R"({"model_type": "clip", "projection_dim": 768, "vision_config": {)" + vision + "}}",
        R"({"model_type": "clip", "projection_dim": 768, "vision_config": {}, "vision_config_dict": {)" +
            vision + "}}",
        R"({"model_type": "clip_vision_model", "projection_dim": 768, )" + vision + "}"}) {
    const auto config = ParseHfConfig(text, "config.json");
    REQUIRE(config.ok());
    CHECK(config->image.width == 1024);
    CHECK(config->image.mlp_width == 4096);
    CHECK(config->image.layers == 24);
    CHECK(config->image.heads == 16);
    CHECK(config->image.tokens() == 577);
    CHECK(config->image.embed_dim == 768);
    CHECK(config->image.activation == Activation::kGelu);
    CHECK(config->image.eps == 1e-6);
  }
}

TEST_CASE("A config that is no CLIP model, or is wrong, is named by file and key") {
  CHECK_THAT(ConfigProblem(R"({"model_type": "siglip2"})"),
             ContainsSubstring("config.json: model_type: is \"siglip2\""));
  CHECK_THAT(ConfigProblem("{}"), ContainsSubstring("config.json: model_type"));
  CHECK_THAT(ConfigProblem(R"({"model_type": "clip", "vision_config": {"hidden_act": "relu"}})"),
             ContainsSubstring("config.json: vision_config.hidden_act"));
  CHECK_THAT(ConfigProblem(R"({"model_type": "clip", "vision_config": {"num_attention_heads": 7}})"),
             ContainsSubstring("vision_config.num_attention_heads"));
}

TEST_CASE("A CLIP image processor crops with offsets rounded down") {
  const auto image =
      ParseHfPreprocessor(R"({"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224},
      "resample": 2, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3], "rescale_factor": 0.00392156862745098})",
                          "p.json", TowerConfig{});
  REQUIRE(image.ok());
  CHECK(image->crop_rounding == CropRounding::kFloor);
  CHECK(image->resize_mode == ResizeMode::kShortest);
  CHECK(image->interpolation == Interpolation::kBilinear);
  CHECK(image->mean == std::array<float, 3>{0.1f, 0.2f, 0.3f});
  CHECK(image->std == std::array<float, 3>{1.0f, 2.0f, 3.0f});
}

TEST_CASE("Sizes may be one number, as old folders have them, and height and width mean squash") {
  const auto old = ParseHfPreprocessor(R"({"size": 224, "crop_size": 224})", "p.json", TowerConfig{});
  REQUIRE(old.ok());
  CHECK(old->resize_mode == ResizeMode::kShortest);
  // One number is the shortest edge to CLIP's class and both sides to ViT's, whose files often say no more.
  const auto vit = ParseHfPreprocessor(R"({"image_processor_type": "ViTImageProcessor", "size": 224})",
                                       "p.json", TowerConfig{});
  REQUIRE(vit.ok());
  CHECK(vit->resize_mode == ResizeMode::kSquash);
  const auto squash =
      ParseHfPreprocessor(R"({"size": {"height": 224, "width": 224}})", "p.json", TowerConfig{});
  REQUIRE(squash.ok());
  CHECK(squash->resize_mode == ResizeMode::kSquash);
  // Nothing is left to crop, whatever crop_size says.
  const auto no_crop = ParseHfPreprocessor(
      R"({"size": {"height": 224, "width": 224}, "do_center_crop": false, "crop_size": {"height": 200, "width": 200}})",
      "p.json", TowerConfig{});
  REQUIRE(no_crop.ok());
  CHECK(no_crop->resize_mode == ResizeMode::kSquash);
}

TEST_CASE("Preprocessing that the server would not do is refused by key") {
  CHECK_THAT(PreprocessorProblem(R"({"do_center_crop": false})"),
             ContainsSubstring("p.json: do_center_crop"));
  CHECK_THAT(PreprocessorProblem(R"({"do_center_crop": false, "size": {"height": 200, "width": 224}})"),
             ContainsSubstring("p.json: size: is 200x224"));
  CHECK_THAT(PreprocessorProblem(R"({"resample": 1})"), ContainsSubstring("p.json: resample"));
  CHECK_THAT(PreprocessorProblem(R"({"rescale_factor": 1})"), ContainsSubstring("p.json: rescale_factor"));
  CHECK_THAT(PreprocessorProblem(R"({"size": {"shortest_edge": 200}})"), ContainsSubstring("p.json: size"));
  CHECK_THAT(PreprocessorProblem(R"({"size": 336, "crop_size": 336})"),
             ContainsSubstring("p.json: crop_size: is 336x336"));
  CHECK_THAT(PreprocessorProblem(R"({"image_std": [1, 0, 1]})"), ContainsSubstring("p.json: image_std"));
}

TEST_CASE("Every tensor of the tower has its Hugging Face name") {
  const auto model = ParseHfConfig(R"({"model_type": "clip"})", "config.json");
  REQUIRE(model.ok());
  TowerLayout layout = HfImageLayout(*model);
  layout.prefix = "vision_model.";
  const auto spell = [&](const std::string& name) { return Spell(layout, model->image, name); };
  CHECK(spell("ln_pre.weight").parts == std::vector<std::string>{"vision_model.pre_layrnorm.weight"});
  CHECK(spell("proj").parts == std::vector<std::string>{"visual_projection.weight"});
  CHECK(spell("proj").transposed);
  const StoredName qkv = spell("transformer.resblocks.11.attn.in_proj_bias");
  REQUIRE(qkv.parts.size() == 3);
  CHECK(qkv.parts[1] == "vision_model.encoder.layers.11.self_attn.k_proj.bias");
  CHECK(spell("transformer.resblocks.0.mlp.c_proj.weight").parts[0] ==
        "vision_model.encoder.layers.0.mlp.fc2.weight");
}

}  // namespace
}  // namespace embedd
