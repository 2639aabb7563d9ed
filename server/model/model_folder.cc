// SPDX-License-Identifier: Apache-2.0

#include "server/model/model_folder.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "server/model/fingerprint.h"
#include "server/model/hf_config.h"
#include "server/model/hf_preprocessor.h"
#include "server/model/json_reader.h"
#include "server/model/open_clip_config.h"
#include "server/model/timm_config.h"
#include "server/model/timm_tower.h"
#include "server/model/tower_layout.h"
#include "server/support/log.h"
#include "server/support/utf8.h"

namespace embedd {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kLargestConfig = 1 << 20;

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

absl::StatusOr<std::string> ReadConfig(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat(path.string(), ": cannot be read: ", error.message()));
  if (size > kLargestConfig)
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": is over 1 MiB"));
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf()))
    return absl::NotFoundError(absl::StrCat(path.string(), ": cannot be read"));
  return std::move(text).str();
}

// A word for a POSIX shell, whatever the path holds.
std::string ShellQuoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// Opens the weights; what a checkpoint holds beside tensors is refused, and then this says the way out.
absl::StatusOr<std::unique_ptr<WeightFiles>> OpenWeights(const fs::path& file, const fs::path& converted) {
  auto files = WeightFiles::Open(file.string());
  if (!absl::IsUnimplemented(files.status())) return files;
  return absl::UnimplementedError(absl::StrCat(
      files.status().message(),
      ". Convert the weights once, where PyTorch and safetensors are installed (do so with files that you "
      "trust):\n  python3 -c \"import sys, torch; from safetensors.torch import save_file; "
      "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); w = w.get('state_dict', w); "
      "save_file({k: t.contiguous().clone() for k, t in w.items() if torch.is_tensor(t)}, sys.argv[2])\" ",
      ShellQuoted(file.string()), " ", ShellQuoted(converted.string())));
}

// The first of `names` that is a file in the folder.
absl::StatusOr<fs::path> FindFile(const fs::path& folder, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (IsFile(folder / name)) return folder / name;
  }
  return absl::NotFoundError(absl::StrCat((folder / *names.begin()).string(), ": is missing"));
}

// The weights file that open_clip would load, in its order.
absl::StatusOr<fs::path> FindOpenClipWeights(const fs::path& folder) {
  auto file = FindFile(folder, {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                                "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth",
                                "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
                                "open_clip_pytorch_model.pt", "model.pt"});
  if (file.ok()) return file;
  // Else it takes any, .safetensors first, by name.
  std::set<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path kind = entry.path().extension();
    if ((kind == ".safetensors" || kind == ".bin" || kind == ".pth") && IsFile(entry.path())) {
      found.insert(entry.path());
    }
  }
  for (const fs::path& path : found) {
    if (path.extension() == ".safetensors") return path;
  }
  return found.empty() ? file : *found.begin();
}

// A text tower that is not as the config says leaves the images of the folder to be served.
void BindText(const TowerLayout& layout, const WeightFiles& files, std::optional<TextTower>* text) {
  const TowerConfig& config = (*text)->config;
  auto weights = BindWeights(
      config, files, [&](const std::string& name) { return Spell(layout, config, name); },
      [](const std::string&) { return true; });
  if (weights.ok()) {
    (*text)->weights = *std::move(weights);
  } else {
    LogWarn("the text tower is not read: only images are served",
            {{"error", std::string(weights.status().message())}});
    text->reset();
  }
}

// The one number of a tensor of no or one dimension; none where it is not there.
absl::StatusOr<std::optional<double>> ReadScalar(const WeightFiles& files, const std::string& name) {
  const auto it = files.tensors().find(name);
  if (it == files.tensors().end()) return std::nullopt;
  const TensorView& view = it->second;
  if (view.type == TensorType::kOther || view.bytes != TensorTypeBytes(view.type))
    return files.TensorError(name, "must be one number");
  return ScalarValue(view);
}

// A model whose towers are read, with what belongs to both.
absl::StatusOr<ModelFolder> Finished(ModelFolder model, std::unique_ptr<WeightFiles> files) {
  if (model.text.has_value()) {
    if (model.text->config.embed_dim != model.vision.embed_dim) {
      return absl::InvalidArgumentError(absl::StrCat(
          files->path(), ": images become ", model.vision.embed_dim, " numbers and texts ",
          model.text->config.embed_dim, ": they cannot be compared, so this is no model of both"));
    }
    const auto scale = ReadScalar(*files, "logit_scale"), bias = ReadScalar(*files, "logit_bias");
    if (!scale.ok()) return scale.status();
    if (!bias.ok()) return bias.status();
    if (scale->has_value()) model.logit_scale = std::exp(**scale);
    model.logit_bias = *bias;
  }
  model.files = std::move(files);
  return model;
}

absl::StatusOr<ModelFolder> ReadOpenClip(const fs::path& folder) {
  const fs::path config_file = folder / "open_clip_config.json";
  absl::StatusOr<std::string> text = ReadConfig(config_file);
  if (!text.ok()) return text.status();
  absl::StatusOr<OpenClipConfig> config = ParseOpenClipConfig(*text, config_file.string());
  if (!config.ok()) return config.status();
  absl::StatusOr<fs::path> weights_file = FindOpenClipWeights(folder);
  if (!weights_file.ok()) return weights_file.status();
  auto files = OpenWeights(*weights_file, folder / "open_clip_model.safetensors");
  if (!files.ok()) return files.status();
  (*files)->StripCommonPrefix("module.");  // left by DistributedDataParallel; open_clip strips it
  if ((*files)->Has("vision_model.post_layernorm.weight")) {
    return absl::InvalidArgumentError(absl::StrCat(
        weights_file->string(),
        ": holds the Hugging Face layout, but the folder has an open_clip_config.json. Add "
        "open_clip_model.safetensors, "
        "or serve a folder without open_clip_config.json, which is then read as a Hugging Face one"));
  }
  ModelFolder model;
  TowerLayout layout = OpenClipImageLayout();
  if (!config->timm_name.empty()) {
    const auto timm = ReadTimmTower(
        config->timm_name, config_file.string() + ": model_cfg.vision_cfg.timm_model_name",
        config->vision.image_height, config->vision.image_width, **files, "visual.trunk.", config->timm_head);
    if (!timm.ok()) return timm.status();
    config->vision = timm->config;
    layout = timm->layout;
  }
  if (config->text.has_value() &&
      (*files)->Has(Spell(OpenClipTextLayout(*config), *config->text, "token_embedding.weight").parts[0])) {
    model.text = TextTower{*config->text, config->text_spec, {}};
    BindText(OpenClipTextLayout(*config), **files, &model.text);
  }
  auto weights = BindWeights(
      config->vision, **files, [&](const std::string& name) { return Spell(layout, config->vision, name); },
      [&](const std::string& name) { return IsUnusedOpenClipTensor(*config, name); });
  if (!weights.ok()) return weights.status();
  model.vision = config->vision;
  model.image = config->image;
  model.weights = *std::move(weights);
  return Finished(std::move(model), *std::move(files));
}

// A plain timm folder. The classifier is left out, as with num_classes=0.
absl::StatusOr<ModelFolder> ReadTimm(const fs::path& folder, const std::string& text) {
  const std::string file = (folder / "config.json").string();
  absl::StatusOr<TimmFolderConfig> config = ParseTimmConfig(text, file);
  if (!config.ok()) return config.status();
  const std::string where = file + ": architecture";
  if (absl::Status status = CheckTimmName(config->architecture, where); !status.ok()) return status;
  auto weights_file = FindFile(folder, {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin", "pytorch_model.bin.index.json"});
  if (!weights_file.ok()) return weights_file.status();
  auto files = OpenWeights(*weights_file, folder / "model.safetensors");
  if (!files.ok()) return files.status();
  // What training left, in either order; timm strips it.
  for (const char* wrapper : {"_orig_mod.", "module.", "_orig_mod."}) (*files)->StripCommonPrefix(wrapper);
  absl::StatusOr<TimmTower> tower = ReadTimmTower(config->architecture, where, config->image.height,
                                                  config->image.width, **files, "", /*head=*/false);
  if (!tower.ok()) return tower.status();
  if (tower->config.pool != config->pool && config->pool != Pool::kAverage) {
    return absl::InvalidArgumentError(absl::StrCat(
        file,
        ": global_pool: the weights were saved for another (attn_pool and fc_norm are there for map and "
        "avg alone)"));
  }
  if (config->heads != 0 && config->heads != tower->config.heads) {
    return absl::UnimplementedError(absl::StrCat(file, ": model_args.num_heads: is ", config->heads, "; a ",
                                                 config->architecture, " of this width has ",
                                                 tower->config.heads));
  }
  tower->config.pool = config->pool;
  ModelFolder model;
  auto weights = BindWeights(
      tower->config, **files,
      [&](const std::string& name) { return Spell(tower->layout, tower->config, name); },
      [](const std::string& name) { return absl::StartsWith(name, "head."); });
  if (!weights.ok()) return weights.status();
  model.vision = tower->config;
  model.image = config->image;
  model.weights = *std::move(weights);
  return Finished(std::move(model), *std::move(files));
}

// What stands before the family's own names is taken off where it is a wrapper's; the rest is the answer: a
// vision model alone, as transformers 5 saves it, has no "vision_model." either.
std::string FindHfPrefix(HfFamily family, WeightFiles& files) {
  const std::string probe = HfProbe(family);
  for (const auto& [name, view] : files.tensors()) {
    absl::string_view before = name;
    if (!absl::ConsumeSuffix(&before, probe)) continue;
    for (const std::string& prefix : HfPrefixes(family)) {
      if (before == prefix) return prefix;
    }
    for (const std::string& prefix : HfPrefixes(family)) {
      absl::string_view wrapper = before;
      if (prefix.empty() || !absl::ConsumeSuffix(&wrapper, prefix)) continue;
      files.StripCommonPrefix(std::string(wrapper));
      return prefix;
    }
  }
  return HfPrefixes(family)[0];
}

// The file of the image processor. transformers 5 saves it inside the one of the whole processor, and that
// one wins over a file of its own, which may be left of an earlier version.
absl::StatusOr<fs::path> FindHfProcessor(const fs::path& folder) {
  if (const fs::path whole = folder / "processor_config.json"; IsFile(whole)) {
    const absl::StatusOr<std::string> text = ReadConfig(whole);
    if (!text.ok()) return text.status();
    const auto parsed = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded() || parsed.contains("image_processor")) return whole;
  }
  return FindFile(folder, {"preprocessor_config.json"});
}

// Which of the folder's files make ids of a SigLIP's texts, and how. SigLIP and SigLIP2 share a model_type.
void ChooseSiglipTokenizer(const fs::path& folder, TextSpec* spec) {
  const bool pieces = IsFile(folder / "spiece.model");
  spec->tokenizer = pieces ? TokenizerKind::kSentencePiece : TokenizerKind::kTokenizerJson;
  spec->cleaning = pieces ? TextCleaning::kSiglip : TextCleaning::kLower;
}

absl::StatusOr<ModelFolder> ReadHf(const fs::path& folder) {
  const fs::path config_file = folder / "config.json";
  absl::StatusOr<std::string> text = ReadConfig(config_file);
  if (!text.ok()) return text.status();
  if (IsTimmConfig(*text)) return ReadTimm(folder, *text);
  absl::StatusOr<HfModel> config = ParseHfConfig(*text, config_file.string());
  if (!config.ok()) return config.status();
  const absl::StatusOr<fs::path> processor_file = FindHfProcessor(folder);
  if (!processor_file.ok()) return processor_file.status();
  text = ReadConfig(*processor_file);
  if (!text.ok()) return text.status();
  absl::StatusOr<ImageSpec> image = ParseHfPreprocessor(*text, processor_file->string(), config->image,
                                                        config->processor, config->image_size_of_processor);
  if (!image.ok()) return image.status();
  TowerConfig& tower = config->image;
  if (image->height < tower.patch || image->width < tower.patch) {
    return absl::InvalidArgumentError(
        absl::StrCat(processor_file->string(), ": size: is less than a patch of the tower, ", tower.patch));
  }
  tower.image_height = image->height;
  tower.image_width = image->width;
  tower.max_patches = image->max_patches;

  auto weights_file = FindFile(folder, {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin", "pytorch_model.bin.index.json"});
  if (!weights_file.ok()) return weights_file.status();
  auto files = OpenWeights(*weights_file, folder / "model.safetensors");
  if (!files.ok()) return files.status();
  TowerLayout layout = HfImageLayout(*config);
  layout.prefix = FindHfPrefix(config->family, **files);
  ModelFolder model;
  auto weights = BindWeights(
      tower, **files, [&](const std::string& name) { return Spell(layout, tower, name); }, IsUnusedHfTensor);
  if (!weights.ok()) return weights.status();
  if (config->text.has_value() && (*files)->Has("text_model.embeddings.token_embedding.weight")) {
    model.text = TextTower{*config->text, config->text_spec, {}};
    if (config->family == HfFamily::kSiglip || config->family == HfFamily::kNaflex)
      ChooseSiglipTokenizer(folder, &model.text->spec);
    BindText(HfTextLayout(*config), **files, &model.text);
  }
  model.vision = tower;
  model.image = *image;
  model.weights = *std::move(weights);
  return Finished(std::move(model), *std::move(files));
}

// A sentence-transformers folder lists its modules in modules.json; the first may be a Hugging Face CLIP in a
// folder of its own. What follows may only normalize, which the server does.
absl::StatusOr<fs::path> FollowModules(const fs::path& folder) {
  const fs::path file = folder / "modules.json";
  absl::StatusOr<std::string> text = ReadConfig(file);
  if (!text.ok()) return text.status();
  absl::StatusOr<nlohmann::json> modules = ParseJson(*text, file.string());
  if (!modules.ok()) return modules.status();
  const auto error = [&](absl::string_view message) {
    return absl::InvalidArgumentError(absl::StrCat(file.string(), ": ", message));
  };
  if (!modules->is_array() || modules->empty()) return error("must be a list of modules");
  std::string clip;
  for (size_t i = 0; i < modules->size(); ++i) {
    JsonReader module((*modules)[i], file.string(), absl::StrCat("[", i, "]"));
    const std::string type = module.String("type", ""), path = module.String("path", "");
    if (!module.status().ok()) return module.status();
    const bool known = i == 0 ? absl::EndsWith(type, ".CLIPModel") : absl::EndsWith(type, ".Normalize");
    if (!known) {
      return absl::UnimplementedError(
          absl::StrCat(file.string(), ": [", i, "].type: \"", Printable(type),
                       "\" is not read; a CLIPModel is, alone or followed by Normalize"));
    }
    if (i == 0) clip = path;
  }
  if (!IsBareName(clip)) return error("[0].path: must be the name of a folder beside this file");
  return folder / clip;
}

}  // namespace

absl::StatusOr<ModelFolder> ReadModelFolder(const std::string& path) {
  std::error_code error;
  const fs::path folder = fs::path(path);
  if (!fs::is_directory(folder, error)) {
    return absl::NotFoundError(absl::StrCat(path, ": is not a folder"));
  }
  absl::StatusOr<ModelFolder> model = absl::NotFoundError(
      absl::StrCat((folder / "open_clip_config.json").string(),
                   ": is missing, and there is no config.json of a Hugging Face model either"));
  if (IsFile(folder / "open_clip_config.json")) {
    model = ReadOpenClip(folder);
  } else if (IsFile(folder / "config.json")) {
    model = ReadHf(folder);
  } else if (IsFile(folder / "modules.json")) {
    const absl::StatusOr<fs::path> inner = FollowModules(folder);
    if (!inner.ok()) return inner.status();
    model = ReadHf(*inner);
  }
  if (!model.ok()) return model;
  const fs::path whole = fs::weakly_canonical(folder, error);
  // Callers get it in messages, which hold UTF-8 alone; a folder may be called anything.
  model->name = ToValidUtf8((error || whole.filename().empty()) ? path : whole.filename().string());
  return model;
}

ModelSpec MakeModelSpec(const ModelFolder& folder, DeviceKind device, Dtype dtype) {
  ModelSpec spec;
  spec.name = folder.name;
  spec.architecture = DescribeTower(folder.vision);
  spec.fingerprint = Fingerprint(folder.vision, folder.image, folder.weights, dtype);
  spec.device = std::string(DeviceWord(device));
  spec.dtype = dtype;
  spec.dimension = folder.vision.embed_dim;
  spec.image = folder.image;
  spec.towers = {"image"};
  if (folder.text.has_value()) {
    spec.text = ModelSpec::Text{.dimension = folder.text->config.embed_dim,
                                .context_length = folder.text->config.context_length};
    spec.logit_scale = folder.logit_scale;
    spec.logit_bias = folder.logit_bias;
    if (folder.logit_bias.has_value()) spec.similarity = "sigmoid";
  }
  return spec;
}

}  // namespace embedd
