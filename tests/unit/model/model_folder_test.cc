// SPDX-License-Identifier: Apache-2.0

#include "server/model/model_folder.h"

#include <cstdio>
#include <set>

#include "server/model/hf_config.h"
#include "tests/support/catch.h"
#include "tests/support/checkpoint_file.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

TowerConfig Tiny() {
  TowerConfig config;
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
  CHECK(model->weights.tensors.size() == TowerTensors(Tiny()).size());
  const ModelSpec spec = MakeModelSpec(*model, DeviceKind::kCpu, Dtype::kF32);
  CHECK(spec.dimension == 16);
  CHECK(spec.fingerprint.size() == 32);
  CHECK(spec.towers == std::vector<std::string>{"image"});
  CHECK_THAT(spec.architecture, ContainsSubstring("2 layers") && ContainsSubstring("patch 8"));
}

TEST_CASE("A folder may be called what is no UTF-8; its name in messages is") {
  TempFolder folder;
  REQUIRE(WriteRandomModel(folder.path() + "/mod\xe8le", Tiny(), 1).ok());
  const auto model = ReadModelFolder(folder.path() + "/mod\xe8le");
  REQUIRE(model.ok());
  CHECK(model->name == "mod\xef\xbf\xbdle");
}

TEST_CASE("A random model comes back from disk with the config it was written with") {
  TowerConfig config = Tiny();
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
  CHECK(DescribeTower(model->vision) == DescribeTower(config));
  CHECK(model->vision.mlp_width == 61);
  CHECK(model->vision.final_ln_after_pool);
  CHECK(model->vision.eps == 1e-6);
}

TEST_CASE("A missing, extra or misshapen tensor is named with its file") {
  TempFolder folder;
  auto model = ReadChanged(folder, [](auto& t) { t.erase("visual.transformer.resblocks.1.mlp.c_fc.bias"); });
  CHECK_THAT(std::string(model.status().message()),
             ContainsSubstring(
                 "open_clip_model.safetensors: tensor \"visual.transformer.resblocks.1.mlp.c_fc.bias\": "
                 "is missing"));
  model = ReadChanged(folder, [](auto& t) { t["visual.head.weight"] = {{1}, {0}}; });
  CHECK_THAT(std::string(model.status().message()),
             ContainsSubstring("\"visual.head.weight\": is not part of the model"));
  model = ReadChanged(folder, [](auto& t) { t["stray"] = {{1}, {0}}; });
  CHECK_THAT(std::string(model.status().message()), ContainsSubstring("\"stray\": is not part of the model"));
  model = ReadChanged(folder, [](auto& t) { t["visual.proj"] = {{16, 32}, std::vector<float>(512)}; });
  CHECK_THAT(std::string(model.status().message()),
             ContainsSubstring("\"visual.proj\": has shape [16, 32], the config asks for [32, 16]"));
  model = ReadChanged(folder, [](auto& t) {
    t["visual.positional_embedding"] = {{5, 32}, std::vector<float>(160)};
  });
  CHECK_THAT(std::string(model.status().message()),
             ContainsSubstring("[5, 32]") && ContainsSubstring("image_size"));
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
  const std::string plain =
      MakeModelSpec(*ReadChanged(folder, [](auto&) {}), DeviceKind::kCpu, Dtype::kF32).fingerprint;
  const auto model = ReadChanged(folder, [](auto& tensors) {
    std::map<std::string, HostTensor> named;
    for (auto& [name, tensor] : tensors) named["module." + name] = std::move(tensor);
    named["module.logit_scale"] = {{}, {1}};
    tensors = std::move(named);
  });
  REQUIRE(model.ok());
  CHECK(MakeModelSpec(*model, DeviceKind::kCpu, Dtype::kF32).fingerprint == plain);
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
             ContainsSubstring("open_clip_pytorch_model.safetensors"));
  move("model.safetensors", "open_clip_model.safetensors");
  CHECK(ReadModelFolder(folder.path()).ok());
}

TEST_CASE("The same weights have the same fingerprint, whatever kind of file they lie in") {
  TempFolder folder;
  const auto fingerprint = [&] {
    const auto model = ReadModelFolder(folder.path());
    REQUIRE(model.ok());
    return MakeModelSpec(*model, DeviceKind::kCpu, Dtype::kF32).fingerprint;
  };
  REQUIRE(WriteRandomModel(folder.path(), Tiny(), 1).ok());
  const std::string expected = fingerprint();
  std::filesystem::remove(folder.path() + "/open_clip_model.safetensors");
  const std::string bytes = Checkpoint(TinyTensors());
  for (const std::string name :
       {"open_clip_pytorch_model.bin", "pytorch_model.bin", "model.pth", "any name.pth"}) {
    folder.Write(name, bytes);
    CHECK(fingerprint() == expected);
    std::filesystem::remove(folder.path() + "/" + name);
  }
}

TEST_CASE("A checkpoint that is not read says how to convert it, whatever the path holds") {
  TempFolder parent;
  const std::string path = parent.path() + "/it's \"$(a)\" model";
  std::filesystem::create_directories(path);
  parent.Write("it's \"$(a)\" model/open_clip_config.json", OpenClipConfigJson(Tiny()));
  CHECK(ReadModelFolder(path).status().code() == absl::StatusCode::kNotFound);
  parent.Write("it's \"$(a)\" model/open_clip_pytorch_model.bin",
               StoredZip({{"a/data.pkl", std::string("\x80\x02", 2) + "cnumpy\nload\n."}}));
  const absl::Status status = ReadModelFolder(path).status();
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  const std::string message(status.message());
  CHECK_THAT(message,
             ContainsSubstring("open_clip_pytorch_model.bin: data.pkl: \"numpy.load\" is not among") &&
                 ContainsSubstring("python3 -c") && ContainsSubstring("weights_only=True"));
  // The command, with python3 replaced by a shell function that prints what it was given.
  const std::string command = message.substr(message.find("python3"));
  FILE* shell = popen(("python3() { printf '%s\\n' \"$3\" \"$4\"; }; " + command).c_str(), "r");
  REQUIRE(shell != nullptr);
  std::string printed(4096, '\0');
  printed.resize(fread(printed.data(), 1, printed.size(), shell));
  CHECK(pclose(shell) == 0);
  CHECK(printed == path + "/open_clip_pytorch_model.bin\n" + path + "/open_clip_model.safetensors\n");
}

TEST_CASE("A path that is no model folder says what was looked for") {
  TempFolder folder;
  CHECK_THAT(std::string(ReadModelFolder(folder.path() + "/none").status().message()),
             ContainsSubstring("none: is not a folder"));
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             ContainsSubstring("open_clip_config.json: is missing"));
  folder.Write("open_clip_config.json", std::string(2 << 20, ' '));
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()), ContainsSubstring("over 1 MiB"));
}

constexpr char kHfConfig[] =
    R"({"model_type": "clip", "projection_dim": 16, "vision_config": {"hidden_size": 32,
      "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}})";

std::map<std::string, HostTensor> HfTensors(const std::string& prefix = "vision_model.") {
  std::map<std::string, HostTensor> tensors;
  TowerLayout layout = HfImageLayout(HfModel{});
  layout.prefix = prefix;
  for (const auto& [name, tensor] : RandomWeights(Tiny(), 1)) {
    const StoredName stored = Spell(layout, Tiny(), name);
    for (const std::string& part : stored.parts) {
      HostTensor piece = tensor;
      if (stored.transposed) piece.shape = {tensor.shape[1], tensor.shape[0]};
      piece.shape[0] /= static_cast<int64_t>(stored.parts.size());
      piece.values.resize(tensor.values.size() / stored.parts.size());
      tensors[part] = piece;
    }
  }
  return tensors;
}

TEST_CASE("A Hugging Face folder is read when there is no open_clip_config.json") {
  TempFolder folder;
  folder.Write("config.json", kHfConfig);
  REQUIRE(WriteSafetensors(folder.path() + "/model.safetensors", HfTensors()).ok());
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             ContainsSubstring("preprocessor_config.json"));
  folder.Write("preprocessor_config.json", R"({"size": 32, "crop_size": 32})");
  const auto model = ReadModelFolder(folder.path());
  REQUIRE(model.ok());
  CHECK(model->image.crop_rounding == CropRounding::kFloor);
  CHECK(model->weights.tensors.at("transformer.resblocks.0.attn.in_proj_weight").parts.size() == 3);
  CHECK(model->weights.tensors.at("proj").shape == std::vector<int64_t>{32, 16});

  folder.Write("open_clip_config.json", OpenClipConfigJson(Tiny()));
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             ContainsSubstring("Hugging Face layout"));
}

TEST_CASE("transformers 5 writes the image processor into processor_config.json") {
  TempFolder folder;
  folder.Write("config.json", kHfConfig);
  REQUIRE(WriteSafetensors(folder.path() + "/model.safetensors", HfTensors()).ok());
  folder.Write(
      "processor_config.json",
      R"({"image_processor": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32},
                   "image_mean": [0.5, 0.25, 0.125]}, "processor_class": "CLIPProcessor"})");
  const auto model = ReadModelFolder(folder.path());
  REQUIRE(model.ok());
  CHECK(model->image.mean == std::array<float, 3>{0.5f, 0.25f, 0.125f});
  // It wins over a file of its own, as there; one that says nothing of images does not.
  folder.Write("preprocessor_config.json", R"({"size": 32, "crop_size": 32, "image_mean": [0.1, 0.1, 0.1]})");
  const auto both = ReadModelFolder(folder.path());
  REQUIRE(both.ok());
  CHECK(both->image.mean == model->image.mean);
  folder.Write("processor_config.json", R"({"processor_class": "CLIPProcessor"})");
  const auto old = ReadModelFolder(folder.path());
  REQUIRE(old.ok());
  CHECK(old->image.mean == std::array<float, 3>{0.1f, 0.1f, 0.1f});
  std::filesystem::remove(folder.path() + "/preprocessor_config.json");
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             ContainsSubstring("preprocessor_config.json: is missing"));
  folder.Write("processor_config.json", R"({"image_processor": {"size": 33, "crop_size": 33}})");
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             ContainsSubstring("processor_config.json: image_processor.crop_size: is 33x33"));
}

TEST_CASE(
    "A Hugging Face folder may hold shards, a checkpoint or other prefixes; the fingerprint is the same") {
  TempFolder folder;
  folder.Write("config.json", kHfConfig);
  folder.Write("preprocessor_config.json", R"({"size": 32, "crop_size": 32})");
  std::set<std::string> seen;
  const auto read = [&] {
    const auto model = ReadModelFolder(folder.path());
    REQUIRE(model.ok());
    seen.insert(MakeModelSpec(*model, DeviceKind::kCpu, Dtype::kF32).fingerprint);
  };
  const auto whole = HfTensors();
  folder.Write("pytorch_model.bin", Checkpoint(whole));
  read();
  std::filesystem::remove(folder.path() + "/pytorch_model.bin");
  std::map<std::string, HostTensor> shards[2];
  std::string map;
  for (const auto& [name, tensor] : whole) {
    const int shard = name.size() % 2;
    shards[shard][name] = tensor;
    map +=
        (map.empty() ? "\"" : ", \"") + name + "\": \"pytorch_model-0000" + std::to_string(shard) + ".bin\"";
  }
  for (int i = 0; i < 2; ++i)
    folder.Write("pytorch_model-0000" + std::to_string(i) + ".bin", Checkpoint(shards[i]));
  folder.Write("pytorch_model.bin.index.json", "{\"weight_map\": {" + map + "}}");
  read();
  // The first found counts, as in transformers.
  REQUIRE(WriteSafetensors(folder.path() + "/model.safetensors", HfTensors("")).ok());
  read();
  std::map<std::string, HostTensor> wrapped;
  for (const auto& [name, tensor] : whole) wrapped["clip." + name] = tensor;
  wrapped["clip.vision_model.embeddings.position_ids"] = {{1, 2}, {0, 1}};
  wrapped["clip.text_model.final_layer_norm.bias"] = {{1}, {0}};
  REQUIRE(WriteSafetensors(folder.path() + "/model.safetensors", wrapped).ok());
  read();
  CHECK(seen.size() == 1);
}

TEST_CASE("A NaFlex folder is read, and takes as many patches as its processor says") {
  TempFolder folder;
  REQUIRE(WriteNaflexModel(folder.path(), 1).ok());
  const auto model = ReadModelFolder(folder.path());
  INFO(model.status());
  REQUIRE(model.ok());
  CHECK(model->vision.tokens() == 24);
  CHECK(model->image.width == 32);
  CHECK(model->weights.tensors.at("conv1.weight").shape == std::vector<int64_t>{64, 3 * 8 * 8});
  CHECK(model->weights.tensors.at("positional_embedding").shape == std::vector<int64_t>{16, 64});
  const ModelSpec spec = MakeModelSpec(*model, DeviceKind::kCpu, Dtype::kF32);
  CHECK_THAT(spec.architecture, ContainsSubstring("patch 8, up to 24 patches, gelu_tanh, attention pool"));

  // Another number of patches makes other vectors of the same weights.
  folder.Write("preprocessor_config.json", R"({"patch_size": 8, "max_num_patches": 23})");
  const auto fewer = ReadModelFolder(folder.path());
  REQUIRE(fewer.ok());
  CHECK(MakeModelSpec(*fewer, DeviceKind::kCpu, Dtype::kF32).fingerprint != spec.fingerprint);

  folder.Write("config.json", R"({"model_type": "siglip2_vision_model", "hidden_size": 64, "patch_size": 8,
      "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "num_patches": 25})");
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             ContainsSubstring("position_embedding.weight") &&
                 ContainsSubstring("[16, 64], the config asks for [25, 64]: set num_patches to"));
  std::filesystem::remove(folder.path() + "/preprocessor_config.json");
  CHECK_THAT(std::string(ReadModelFolder(folder.path()).status().message()),
             ContainsSubstring("preprocessor_config.json: is missing"));
}

TEST_CASE("A sentence-transformers folder is followed to the CLIP model that it holds") {
  TempFolder folder;
  const std::string outer = folder.path() + "/clip-ViT-B-32";
  std::filesystem::create_directories(outer + "/0_CLIPModel");
  folder.Write("clip-ViT-B-32/0_CLIPModel/config.json", kHfConfig);
  folder.Write("clip-ViT-B-32/0_CLIPModel/preprocessor_config.json", R"({"size": 32, "crop_size": 32})");
  folder.Write("clip-ViT-B-32/0_CLIPModel/pytorch_model.bin", Checkpoint(HfTensors()));
  const auto modules = [&](const std::string& text) {
    folder.Write("clip-ViT-B-32/modules.json", text);
    return ReadModelFolder(outer);
  };
  const std::string clip =
      R"([{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"})";
  const auto model = modules(clip + "]");
  REQUIRE(model.ok());
  CHECK(model->name == "clip-ViT-B-32");
  CHECK(
      modules(clip + R"(, {"path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}])").ok());
  const absl::Status dense =
      modules(clip + R"(, {"path": "1_Dense", "type": "sentence_transformers.models.Dense"}])").status();
  CHECK(dense.code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(dense.message()),
             ContainsSubstring("modules.json: [1].type: \"sentence_transformers.models.Dense\""));
  CHECK_THAT(std::string(modules(R"([{"path": "../x", "type": "a.CLIPModel"}])").status().message()),
             ContainsSubstring("modules.json: [0].path"));
  for (const char* wrong : {"[]", "{}", "[1]", R"([{"type": 1}])"}) {
    CHECK_THAT(std::string(modules(wrong).status().message()), ContainsSubstring("modules.json"));
  }
}

}  // namespace
}  // namespace embedd
