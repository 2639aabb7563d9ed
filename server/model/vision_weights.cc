// SPDX-License-Identifier: Apache-2.0

#include "server/model/vision_weights.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status TensorError(const SafetensorsFile& file, const std::string& tensor, absl::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat(file.path(), ": tensor \"", Printable(tensor), "\": ", message));
}

// The shape that each of `parts` equal pieces has in the file.
std::vector<int64_t> ShapeInFile(const std::vector<int64_t>& shape, size_t parts, bool transposed) {
  if (transposed) return {shape[1], shape[0]};
  std::vector<int64_t> piece = shape;
  piece[0] /= static_cast<int64_t>(parts);
  return piece;
}

absl::Status WrongShape(const SafetensorsFile& file, const std::string& name, const TensorView& view,
                        const std::vector<int64_t>& wanted) {
  std::string message =
      absl::StrCat("has shape ", ShapeText(view.shape), ", the config asks for ", ShapeText(wanted));
  if (name.find("position") != std::string::npos) {
    absl::StrAppend(
        &message,
        ": the weights were trained at another image or patch size; set image_size to theirs, or load and "
        "save the model once with open_clip at the size you want, which resizes this tensor");
  }
  return TensorError(file, name, message);
}

}  // namespace

absl::StatusOr<VisionWeights> BindWeights(const VisionConfig& config, std::unique_ptr<SafetensorsFile> file,
                                          const std::function<StoredName(const std::string&)>& stored,
                                          const std::function<bool(const std::string&)>& expected) {
  VisionWeights weights;
  std::set<std::string> used;
  for (const auto& [name, shape] : VisionTensors(config)) {
    const StoredName spelling = stored(name);
    WeightSource source;
    source.shape = shape;
    source.transposed = spelling.transposed;
    const std::vector<int64_t> wanted = ShapeInFile(shape, spelling.parts.size(), spelling.transposed);
    for (const std::string& part : spelling.parts) {
      const auto it = file->tensors().find(part);
      if (it == file->tensors().end()) return TensorError(*file, part, "is missing");
      const TensorView& view = it->second;
      if (view.type == TensorType::kF64 || view.type == TensorType::kI64) {
        return TensorError(*file, part,
                           absl::StrCat("dtype ", TensorTypeName(view.type), " is not supported"));
      }
      if (view.shape != wanted) return WrongShape(*file, part, view, wanted);
      source.parts.push_back(view);
      used.insert(part);
    }
    weights.tensors.emplace(name, std::move(source));
  }
  for (const auto& [name, view] : file->tensors()) {
    if (used.count(name) == 0 && !expected(name)) {
      return TensorError(*file, name, "is not part of the model that the config describes");
    }
  }
  weights.file = std::move(file);
  return weights;
}

}  // namespace embedd
