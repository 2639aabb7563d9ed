// SPDX-License-Identifier: Apache-2.0

#include "server/model/weight_files.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/model/checkpoint.h"
#include "server/model/json_reader.h"
#include "server/model/safetensors.h"

namespace embedd {
namespace {

constexpr uint64_t kLargestIndex = 16 << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<WeightFiles>> WeightFiles::Open(const std::string& path) {
  std::unique_ptr<WeightFiles> weights(new WeightFiles(path));
  const absl::Status status = absl::EndsWith(path, ".index.json") ? weights->AddShards() : weights->Add(path);
  if (!status.ok()) return status;
  return weights;
}

absl::Status WeightFiles::Add(const std::string& path) {
  auto file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<TensorMap> tensors =
      absl::EndsWith(path, ".safetensors") ? ReadSafetensors(**file) : ReadCheckpoint(**file);
  if (!tensors.ok()) return tensors.status();
  for (auto& [name, view] : *tensors) {
    if (Has(name)) return TensorError(name, absl::StrCat("is in ", path, ", too"));
    tensors_.emplace(name, std::move(view));
    holders_.emplace(name, file->get());
  }
  files_.push_back(*std::move(file));
  return absl::OkStatus();
}

absl::Status WeightFiles::AddShards() {
  const auto file = MappedFile::Open(path_);
  if (!file.ok()) return file.status();
  const auto error = [&](const std::string& tensor, absl::string_view message) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": weight_map: \"", Printable(tensor), "\": ", message));
  };
  if ((*file)->size() > kLargestIndex) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": is over 16 MiB"));
  }
  absl::StatusOr<nlohmann::json> index = ParseJson((*file)->text(), path_, /*max_depth=*/4);
  if (!index.ok()) return index.status();
  JsonReader top(*index, path_);
  const nlohmann::json* map = top.Find("weight_map");
  if (map == nullptr || !map->is_object() || map->empty()) {
    top.Fail("weight_map", "must be an object: the file of every tensor");
    return top.status();
  }
  std::map<std::string, std::vector<std::string>> tensors_of;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !IsBareName(shard.get<std::string>())) {
      return error(tensor, "must be the name of a file beside the index");
    }
    tensors_of[shard.get<std::string>()].push_back(tensor);
  }
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  for (const auto& [shard, tensors] : tensors_of) {
    const absl::Status status = Add((folder / shard).string());
    if (absl::IsNotFound(status)) {
      return absl::NotFoundError(absl::StrCat(status.message(), "; ", path_, " names it"));
    }
    if (!status.ok()) return status;
    for (const std::string& tensor : tensors) {
      const auto holder = holders_.find(tensor);
      if (holder == holders_.end() || holder->second != files_.back().get()) {
        return error(tensor, absl::StrCat("is not in ", Printable(shard)));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status WeightFiles::TensorError(const std::string& name, absl::string_view message) const {
  const auto holder = holders_.find(name);
  const std::string& file = holder == holders_.end() ? path_ : holder->second->path();
  return absl::InvalidArgumentError(absl::StrCat(file, ": tensor \"", Printable(name), "\": ", message));
}

void WeightFiles::StripCommonPrefix(absl::string_view prefix) {
  for (const auto& [name, view] : tensors_) {
    if (!absl::StartsWith(name, prefix)) return;
  }
  TensorMap tensors;
  std::map<std::string, const MappedFile*> holders;
  for (auto& [name, view] : tensors_) {
    const std::string stripped = name.substr(prefix.size());
    holders.emplace(stripped, holders_.at(name));
    tensors.emplace(stripped, std::move(view));
  }
  tensors_ = std::move(tensors);
  holders_ = std::move(holders);
}

absl::Status WeightFiles::CheckUnchanged() const {
  for (const auto& file : files_) {
    if (absl::Status status = file->CheckUnchanged(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void WeightFiles::DropPages() const {
  for (const auto& file : files_) file->DropPages();
}

}  // namespace embedd
