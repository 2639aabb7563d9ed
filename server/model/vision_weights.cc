// SPDX-License-Identifier: Apache-2.0

#include "server/model/vision_weights.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace embedd {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// The shape that each of `parts` equal pieces has in the file.
std::vector<int64_t> ShapeInFile(const std::vector<int64_t>& shape, size_t parts, bool transposed) {
  if (transposed) return {shape[1], shape[0]};
  std::vector<int64_t> piece = shape;
  piece[0] /= static_cast<int64_t>(parts);
  return piece;
}

absl::Status WrongShape(const WeightFiles& files, const std::string& name, const TensorView& view,
                        const std::vector<int64_t>& wanted) {
  std::string message =
      absl::StrCat("has shape ", ShapeText(view.shape), ", the config asks for ", ShapeText(wanted));
  if (name.find("position") != std::string::npos) {
    absl::StrAppend(
        &message,
        ": the weights were trained at another image or patch size; set image_size to theirs, or load and "
        "save the model once with open_clip at the size you want, which resizes this tensor");
  }
  return files.TensorError(name, message);
}

}  // namespace

absl::StatusOr<VisionWeights> BindWeights(const VisionConfig& config, const WeightFiles& files,
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
      const auto it = files.tensors().find(part);
      if (it == files.tensors().end()) return files.TensorError(part, "is missing");
      const TensorView& view = it->second;
      if (view.type == TensorType::kOther) {
        return files.TensorError(
            part, absl::StrCat("dtype ", view.type_name, " is not supported (F32, F16 and BF16 are)"));
      }
      if (view.shape != wanted) return WrongShape(files, part, view, wanted);
      source.parts.push_back(view);
      used.insert(part);
    }
    weights.tensors.emplace(name, std::move(source));
  }
  for (const auto& [name, view] : files.tensors()) {
    if (used.count(name) == 0 && !expected(name)) {
      return files.TensorError(name, "is not part of the model that the config describes");
    }
  }
  return weights;
}

}  // namespace embedd
