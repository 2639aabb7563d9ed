// SPDX-License-Identifier: Apache-2.0

#include "server/model/model_folder.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/model/fingerprint.h"
#include "server/model/hf_clip_config.h"
#include "server/model/open_clip_config.h"

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

absl::Status PickleOnly(const fs::path& pickle) {
  const std::string target = (pickle.parent_path() / "open_clip_model.safetensors").string();
  return absl::UnimplementedError(absl::StrCat(
      pickle.string(),
      ": pickle weights are not read, because unpickling can run code. Convert them once, where PyTorch and "
      "safetensors "
      "are installed:\n  python -c \"import torch; from safetensors.torch import save_file; w = torch.load('",
      pickle.string(),
      "', map_location='cpu', weights_only=True); w = w.get('state_dict', w); "
      "save_file({k.removeprefix('module.'): t.contiguous() for k, t in w.items() if torch.is_tensor(t)}, '",
      target, "')\""));
}

// The weights file that open_clip would load, in its order, pickles left out.
absl::StatusOr<fs::path> FindOpenClipWeights(const fs::path& folder) {
  for (const char* name :
       {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors"}) {
    if (IsFile(folder / name)) return folder / name;
  }
  for (const char* name : {"open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth", "pytorch_model.bin",
                           "pytorch_model.pth", "model.pth", "open_clip_pytorch_model.pt", "model.pt"}) {
    if (IsFile(folder / name)) return PickleOnly(folder / name);
  }
  return absl::NotFoundError(absl::StrCat((folder / "open_clip_model.safetensors").string(), ": is missing"));
}

absl::StatusOr<ModelFolder> ReadOpenClip(const fs::path& folder) {
  const fs::path config_file = folder / "open_clip_config.json";
  absl::StatusOr<std::string> text = ReadConfig(config_file);
  if (!text.ok()) return text.status();
  absl::StatusOr<OpenClipConfig> config = ParseOpenClipConfig(*text, config_file.string());
  if (!config.ok()) return config.status();
  absl::StatusOr<fs::path> weights_file = FindOpenClipWeights(folder);
  if (!weights_file.ok()) return weights_file.status();
  auto files = WeightFiles::Open(weights_file->string());
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
  auto weights = BindWeights(
      config->vision, **files,
      [](const std::string& name) {
        return StoredName{{"visual." + name}, false};
      },
      [&](const std::string& name) { return IsUnusedOpenClipTensor(*config, name); });
  if (!weights.ok()) return weights.status();
  model.vision = config->vision;
  model.image = config->image;
  model.files = *std::move(files);
  model.weights = *std::move(weights);
  return model;
}

absl::StatusOr<fs::path> FindHfWeights(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (IsFile(folder / name)) return folder / name;
  }
  if (IsFile(folder / "pytorch_model.bin")) {
    return absl::UnimplementedError(absl::StrCat(
        (folder / "pytorch_model.bin").string(),
        ": pickle weights are not read, because unpickling can run code. Convert them once, where "
        "transformers is installed:\n  python -c \"from transformers import CLIPModel; "
        "CLIPModel.from_pretrained('",
        folder.string(), "').save_pretrained('", folder.string(), "')\""));
  }
  return absl::NotFoundError(absl::StrCat((folder / "model.safetensors").string(), ": is missing"));
}

absl::StatusOr<ModelFolder> ReadHfClip(const fs::path& folder) {
  const fs::path config_file = folder / "config.json",
                 preprocessor_file = folder / "preprocessor_config.json";
  absl::StatusOr<std::string> text = ReadConfig(config_file);
  if (!text.ok()) return text.status();
  absl::StatusOr<VisionConfig> vision = ParseHfClipConfig(*text, config_file.string());
  if (!vision.ok()) return vision.status();
  text = ReadConfig(preprocessor_file);
  if (!text.ok()) return text.status();
  absl::StatusOr<ImageSpec> image = ParseHfPreprocessor(*text, preprocessor_file.string(), *vision);
  if (!image.ok()) return image.status();

  absl::StatusOr<fs::path> weights_file = FindHfWeights(folder);
  if (!weights_file.ok()) return weights_file.status();
  auto files = WeightFiles::Open(weights_file->string());
  if (!files.ok()) return files.status();
  auto weights = BindWeights(*vision, **files, HfStoredName, IsUnusedHfTensor);
  if (!weights.ok()) return weights.status();
  ModelFolder model;
  model.vision = *vision;
  model.image = *image;
  model.files = *std::move(files);
  model.weights = *std::move(weights);
  return model;
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
                   ": is missing, and there is no config.json of a Hugging Face CLIP model either"));
  if (IsFile(folder / "open_clip_config.json")) {
    model = ReadOpenClip(folder);
  } else if (IsFile(folder / "config.json")) {
    model = ReadHfClip(folder);
  }
  if (!model.ok()) return model;
  const fs::path whole = fs::weakly_canonical(folder, error);
  model->name = (error || whole.filename().empty()) ? path : whole.filename().string();
  return model;
}

ModelSpec MakeModelSpec(const ModelFolder& folder, const std::string& device, const std::string& dtype) {
  ModelSpec spec;
  spec.name = folder.name;
  spec.architecture = DescribeVision(folder.vision);
  spec.fingerprint = Fingerprint(folder.vision, folder.image, folder.weights, dtype);
  spec.device = device;
  spec.dtype = dtype;
  spec.dimension = folder.vision.embed_dim;
  spec.image = folder.image;
  spec.towers = {"image"};
  return spec;
}

}  // namespace embedd
