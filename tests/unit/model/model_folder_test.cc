// SPDX-License-Identifier: Apache-2.0

#include "server/model/model_folder.h"

#include "server/model/hf_clip_config.h"
#include "tests/support/catch.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

using Catch::Matchers::Contains;

VisionConfig Tiny() {
  VisionConfig config;
  config.image_height = config.image_width = 32;
  config.patch = 8;
  config.width = 32;
  config.layers = 2;
  config.heads = 2;
  config.mlp_width = 64;
  config.embed_dim = 16;
  return config;
}

std::map<std::string, HostTensor> TinyTensors() {
  std::map<std::string, HostTensor> tensors;
  for (auto& [name, tensor] : RandomWeights(Tiny(), 1)) tensors["visual." + name] = std::move(tensor);
  return tensors;
}

// A tiny folder whose tensors `change` was let at.
template <typename Change>
absl::StatusOr<ModelFolder> ReadChanged(const TempFolder& folder, Change change) {
  auto tensors = TinyTensors();
  change(tensors);
  folder.Write("open_clip_config.json", OpenClipConfigJson(Tiny()));
  REQUIRE(WriteSafetensors(folder.path() + "/open_clip_model.safetensors", tensors).ok());
  return ReadModelFolder(folder.path());
}

TEST_CASE("An OpenCLIP folder gives config, image spec and every tensor") {
  TempFolder folder;
  REQUIRE(WriteRandomModel(folder.path() + "/my-model", Tiny(), 1).ok());
  const auto model = ReadModelFolder(folder.path() + "/my-model/");
  REQUIRE(model.ok());
  CHECK(model->name == "my-model");
  CHECK(model->vision.layers == 2);
  CHECK(model->image.width == 32);
  CHECK(model->weights.tensors.size() == VisionTensors(Tiny()).size());
  const ModelSpec spec = MakeModelSpec(*model, "cpu", "f32");
  CHECK(spec.dimension == 16);
  CHECK(spec.fingerprint.size() == 32);
  CHECK(spec.towers == std::vector<std::string>{"image"});
  CHECK_THAT(spec.architecture, Contains("2 layers") && Contains("patch 8"));
}

TEST_CASE("A random model comes back from disk with the config it was written with") {
  VisionConfig config = Tiny();
  config.mlp_width = 61;
  config.image_height = 40;
  config.activation = Activation::kGeluTanh;
  config.pool = Pool::kAverage;
  config.ln_pre = false;
  config.layer_scale = true;
  config.final_ln_after_pool = true;
  config.eps = 1e-6;
  TempFolder folder;
  REQUIRE(WriteRandomModel(folder.path(), config, 1).ok());
  const auto model = ReadModelFolder(folder.path());
  REQUIRE(model.ok());
  CHECK(DescribeVision(model->vision) == DescribeVision(config));
  CHECK(model->vision.mlp_width == 61);
  CHECK(model->vision.final_ln_after_pool);
  CHECK(model->vision.eps == 1e-6);
}

TEST_CASE("A missing, extra or misshapen tensor is named with its file") {
  TempFolder folder;
  auto model = ReadChanged(folder, [](auto& t) { t.erase("visual.transformer.resblocks.1.mlp.c_fc.bias"); });
  CHECK_THAT(std::string(model.status().message()),
             Contains("open_clip_model.safetensors: tensor \"visual.transformer.resblocks.1.mlp.c_fc.bias\": "
                      "is missing"));
  model = ReadChanged(folder, [](auto& t) { t["visual.head.weight"] = {{1}, {0}}; });
  CHECK_THAT(std::string(model.status().message()),
             Contains("\"visual.head.weight\": is not part of the model"));
  model = ReadChanged(folder, [](auto& t) { t["stray"] = {{1}, {0}}; });
  CHECK_THAT(std::string(model.status().message()), Contains("\"stray\": is not part of the model"));
  model = ReadChanged(folder, [](auto& t) { t["visual.proj"] = {{16, 32}, std::vector<float>(512)}; });
  CHECK_THAT(std::string(model.status().message()),
             Contains("\"visual.proj\": has shape [16, 32], the config asks for [32, 16]"));
  model = ReadChanged(folder, [](auto& t) {
    t["visual.positional_embedding"] = {{5, 32}, std::vector<float>(160)};
  });
  CHECK_THAT(std::string(model.status().message()), Contains("[5, 32]") && Contains("image_size"));
  CHECK(model.status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Tensors of the text tower are known and not read") {
  TempFolder folder;
  const auto model = ReadChanged(folder, [](auto& t) {
    t["logit_scale"] = {{}, {1}};
    t["token_embedding.weight"] = {{2, 2}, {0, 0, 0, 0}};
    t["transformer.resblocks.0.ln_1.weight"] = {{1}, {0}};
  });
  CHECK(model.ok());
}

TEST_CASE("The prefix of DistributedDataParallel is read over, as open_clip does") {
  TempFolder folder;
  const std::string plain = MakeModelSpec(*ReadChanged(folder, [](auto&) {}), "cpu", "f32").fingerprint;
  const auto model = ReadChanged(folder, [](auto& tensors) {
    std::map<std::string, HostTensor> named;
    for (auto& [name, tensor] : tensors) named["module." + name] = std::move(tensor);
    named["module.logit_scale"] = {{}, {1}};
    tensors = std::move(named);
  });
  REQUIRE(model.ok());
  CHECK(MakeModelSpec(*model, "cpu", "f32").fingerprint == plain);
}

TEST_CASE("The weights file is looked for in OpenCLIP's order") {
  TempFolder folder;
  REQUIRE(WriteRandomModel(folder.path(), Tiny(), 1).ok());
  const auto move = [&](const std::string& from, const std::string& to) {
    std::filesystem::rename(folder.path() + "/" + from, folder.path() + "/" + to);
  };
  move("open_clip_model.safetensors", "model.safetensors");
  REQUIRE(ReadModelFolder(folder.path()).ok());
  folder.Write("open_clip_pytorch_model.safetensors", "broken");
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             Contains("open_clip_pytorch_model.safetensors"));
  move("model.safetensors", "open_clip_model.safetensors");
  CHECK(ReadModelFolder(folder.path()).ok());
}

TEST_CASE("A folder with pickle weights only is told how to convert them") {
  TempFolder folder;
  folder.Write("open_clip_config.json", OpenClipConfigJson(Tiny()));
  CHECK(ReadModelFolder(folder.path()).status().code() == absl::StatusCode::kNotFound);
  folder.Write("open_clip_pytorch_model.bin", "");
  const absl::Status status = ReadModelFolder(folder.path()).status();
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(status.message()), Contains("open_clip_pytorch_model.bin: pickle") &&
                                                Contains("python -c") && Contains("weights_only=True"));
}

TEST_CASE("A path that is no model folder says what was looked for") {
  TempFolder folder;
  CHECK_THAT(std::string(ReadModelFolder(folder.path() + "/none").status().message()),
             Contains("none: is not a folder"));
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             Contains("open_clip_config.json: is missing"));
  folder.Write("open_clip_config.json", std::string(2 << 20, ' '));
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()), Contains("over 1 MiB"));
}

TEST_CASE("A Hugging Face folder is read when there is no open_clip_config.json") {
  TempFolder folder;
  std::map<std::string, HostTensor> tensors;
  for (const auto& [name, tensor] : RandomWeights(Tiny(), 1)) {
    const StoredName stored = HfStoredName(name);
    for (const std::string& part : stored.parts) {
      HostTensor piece = tensor;
      if (stored.transposed) piece.shape = {tensor.shape[1], tensor.shape[0]};
      piece.shape[0] /= static_cast<int64_t>(stored.parts.size());
      piece.values.resize(tensor.values.size() / stored.parts.size());
      tensors[part] = piece;
    }
  }
  folder.Write("config.json",
               R"({"model_type": "clip", "projection_dim": 16, "vision_config": {"hidden_size": 32,
      "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}})");
  REQUIRE(WriteSafetensors(folder.path() + "/model.safetensors", tensors).ok());
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             Contains("preprocessor_config.json"));
  folder.Write("preprocessor_config.json", R"({"size": 32, "crop_size": 32})");
  const auto model = ReadModelFolder(folder.path());
  REQUIRE(model.ok());
  CHECK(model->image.crop_rounding == CropRounding::kFloor);
  CHECK(model->weights.tensors.at("transformer.resblocks.0.attn.in_proj_weight").parts.size() == 3);
  CHECK(model->weights.tensors.at("proj").shape == std::vector<int64_t>{32, 16});

  folder.Write("open_clip_config.json", OpenClipConfigJson(Tiny()));
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()), Contains("Hugging Face layout"));
}

}  // namespace
}  // namespace embedd
