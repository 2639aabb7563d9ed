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
  CHECK_THAT(ConfigProblem(R"({"model_type": "jina_clip"})"),
             ContainsSubstring("config.json: model_type: is \"jina_clip\""));
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

TEST_CASE("A size may be a list, mean and std one number for all channels, as transformers reads them") {
  const auto image = ParseHfPreprocessor(R"({"size": [224, 224], "image_mean": 0.25, "image_std": 2})",
                                         "p.json", TowerConfig{});
  INFO(image.status());
  REQUIRE(image.ok());
  CHECK(image->resize_mode == ResizeMode::kSquash);
  CHECK(image->mean == std::array<float, 3>{0.25f, 0.25f, 0.25f});
  CHECK(image->std == std::array<float, 3>{2.0f, 2.0f, 2.0f});
  // One number is both sides where the file says so.
  const auto square =
      ParseHfPreprocessor(R"({"size": 224, "default_to_square": true})", "p.json", TowerConfig{});
  REQUIRE(square.ok());
  CHECK(square->resize_mode == ResizeMode::kSquash);
  // The shortest edge counts where both are there; null is not there.
  const auto both = ParseHfPreprocessor(
      R"({"size": {"shortest_edge": 224, "height": 224, "width": 224, "longest_edge": null}})", "p.json",
      TowerConfig{});
  REQUIRE(both.ok());
  CHECK(both->resize_mode == ResizeMode::kShortest);
}

TEST_CASE("Preprocessing that the server would not do is refused by key") {
  for (const char* size : {R"({"longest_edge": 224})", R"({"shortest_edge": 224, "longest_edge": 300})",
                           R"({"max_height": 224, "max_width": 224})", R"({})", R"({"height": 224})", "[224]",
                           "[224, 224, 3]", R"("224")"}) {
    INFO(size);
    CHECK_THAT(PreprocessorProblem(std::string(R"({"size": )") + size + "}"),
               ContainsSubstring("p.json: size: "));
  }
  CHECK_THAT(PreprocessorProblem(R"({"crop_size": {"shortest_edge": 200}})"),
             ContainsSubstring("p.json: crop_size: must have a height and a width"));
  CHECK_THAT(PreprocessorProblem(R"({"use_square_size": true})"),
             ContainsSubstring("p.json: use_square_size"));
  CHECK_THAT(PreprocessorProblem(R"({"do_pad": true, "pad_size": {"height": 9, "width": 9}})"),
             ContainsSubstring("p.json: pad_size"));
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

TowerConfig Naflex() {
  const auto model = ParseHfConfig(R"({"model_type": "siglip2"})", "config.json");
  REQUIRE(model.ok());
  return model->image;
}

std::string NaflexProcessorProblem(const std::string& text) {
  return std::string(
      ParseHfPreprocessor(text, "p.json", Naflex(), HfProcessor::kSiglip2, true).status().message());
}

TEST_CASE("A NaFlex folder takes images of any shape, and says of how many patches at most") {
  const auto model = ParseHfConfig(
      R"({"model_type": "siglip2", "text_config": {"vocab_size": 256000},
          "vision_config": {"hidden_size": 1152, "num_attention_heads": 16, "num_patches": 256}})",
      "config.json");
  REQUIRE(model.ok());
  CHECK(model->image.position_grid == 16);
  CHECK(model->image.pool == Pool::kAttention);
  CHECK(model->image.heads == 16);
  REQUIRE(model->text.has_value());
  CHECK(model->text->vocabulary == 256000);
  CHECK_FALSE(model->text->causal);

  const auto image = ParseHfPreprocessor(R"({"max_num_patches": 1000, "patch_size": 16})", "p.json",
                                         model->image, model->processor, true);
  REQUIRE(image.ok());
  CHECK(image->resize_mode == ResizeMode::kPatches);
  CHECK(image->interpolation == Interpolation::kBilinear);
  CHECK(image->max_patches == 1000);
  CHECK(image->patch == 16);
  CHECK(image->width == 31 * 16);  // of a square image
  CHECK(image->height == 31 * 16);
  CHECK(image->mean == std::array<float, 3>{0.5f, 0.5f, 0.5f});
  CHECK(image->bytes() == 4 + 3 * 16 * 16 * 1000);
  // What a file leaves out is what transformers takes then.
  const auto silent = ParseHfPreprocessor("{}", "p.json", model->image, model->processor, true);
  REQUIRE(silent.ok());
  CHECK(silent->max_patches == 256);
  CHECK(silent->patch == 16);
}

TEST_CASE("A NaFlex folder that cannot be served is told which key is wrong, and how") {
  CHECK_THAT(ConfigProblem(R"({"model_type": "siglip2", "vision_config": {"num_patches": 200}})"),
             ContainsSubstring("config.json: vision_config.num_patches: is 200: it must be a square number"));
  CHECK_THAT(ConfigProblem(R"({"model_type": "siglip2", "vision_config": {"vision_use_head": false}})"),
             ContainsSubstring("config.json: vision_config.vision_use_head"));
  for (const char* many : {"0", "-1", "4097", "\"256\"", "1.5", "[256]"}) {
    INFO(many);
    CHECK_THAT(NaflexProcessorProblem(R"({"max_num_patches": )" + std::string(many) + "}"),
               ContainsSubstring("p.json: max_num_patches"));
  }
  CHECK_THAT(NaflexProcessorProblem(R"({"patch_size": 14})"),
             ContainsSubstring("p.json: patch_size: is 14, the image tower takes patches of 16"));
  CHECK_THAT(NaflexProcessorProblem(R"({"image_processor_type": "SiglipImageProcessor"})"),
             ContainsSubstring("p.json: image_processor_type: must be Siglip2ImageProcessor"));
  CHECK_THAT(
      PreprocessorProblem(R"({"image_processor_type": "Siglip2ImageProcessorFast"})"),
      ContainsSubstring("p.json: image_processor_type: Siglip2ImageProcessor makes images of any shape"));
  CHECK_THAT(NaflexProcessorProblem(R"({"do_resize": false})"), ContainsSubstring("p.json: do_resize"));
  // Of large patches fewer are taken, so that an image is at most 16 million pixels.
  TowerConfig coarse = Naflex();
  coarse.patch = 512;
  CHECK_THAT(
      std::string(ParseHfPreprocessor(R"({"patch_size": 512})", "p.json", coarse, HfProcessor::kSiglip2, true)
                      .status()
                      .message()),
      ContainsSubstring("p.json: max_num_patches: patches of 512x512 pixels are at most 64"));
}

}  // namespace
}  // namespace embedd
