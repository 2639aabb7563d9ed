// SPDX-License-Identifier: Apache-2.0

#include "server/model/tower_weights.h"

#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace embedd {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// The shape that part `i` of the tensor has in the file.
std::vector<int64_t> ShapeInFile(const std::vector<int64_t>& shape, const StoredName& spelling, size_t i) {
  if (spelling.transposed) return {shape[1], shape[0]};
  std::vector<int64_t> piece = shape;
  if (spelling.shares.empty()) {
    piece[0] /= static_cast<int64_t>(spelling.parts.size());
  } else {
    piece[0] =
        piece[0] / std::accumulate(spelling.shares.begin(), spelling.shares.end(), 0) * spelling.shares[i];
  }
  return piece;
}

// The same numbers, with dimensions of one left out in front: how layouts that keep a batch dimension store a
// vector or a table.
bool SameButLeadingOnes(std::vector<int64_t> stored, std::vector<int64_t> wanted) {
  const auto strip = [](std::vector<int64_t>* shape) {
    while (!shape->empty() && shape->front() == 1) shape->erase(shape->begin());
  };
  strip(&stored);
  strip(&wanted);
  return stored == wanted;
}

absl::Status WrongShape(const TowerConfig& config, const WeightFiles& files, const std::string& name,
                        const TensorView& view, const std::vector<int64_t>& wanted) {
  std::string message =
      absl::StrCat("has shape ", ShapeText(view.shape), ", the config asks for ", ShapeText(wanted));
  if (config.max_patches > 0 && name.find("position") != std::string::npos) {
    absl::StrAppend(&message, ": set num_patches to the number of positions that the weights have");
  } else if (name.find("position") != std::string::npos) {
    absl::StrAppend(
        &message,
        ": the weights were trained at another image or patch size; set image_size to theirs, or load and "
        "save the model once with open_clip at the size you want, which resizes this tensor");
  }
  return files.TensorError(name, message);
}

}  // namespace

absl::StatusOr<TowerWeights> BindWeights(const TowerConfig& config, const WeightFiles& files,
                                         const std::function<StoredName(const std::string&)>& stored,
                                         const std::function<bool(const std::string&)>& expected) {
  TowerWeights weights;
  std::set<std::string> used;
  for (const auto& [name, shape] : TowerTensors(config)) {
    const StoredName spelling = stored(name);
    WeightSource source;
    source.shape = shape;
    source.transposed = spelling.transposed;
    for (size_t i = 0; i < spelling.parts.size(); ++i) {
      const std::string& part = spelling.parts[i];
      const std::vector<int64_t> wanted = ShapeInFile(shape, spelling, i);
      if (part.empty()) {
        TensorView zeros;
        zeros.shape = wanted;
        source.parts.push_back(std::move(zeros));
        continue;
      }
      const auto it = files.tensors().find(part);
      if (it == files.tensors().end()) return files.TensorError(part, "is missing");
      TensorView view = it->second;
      if (view.type == TensorType::kOther) {
        return files.TensorError(
            part, absl::StrCat("dtype ", view.type_name, " is not supported (F64, F32, F16 and BF16 are)"));
      }
      if (view.shape != wanted) {
        if (!spelling.leading_ones || !view.strides.empty() || !SameButLeadingOnes(view.shape, wanted))
          return WrongShape(config, files, part, view, wanted);
        view.shape = wanted;
      }
      source.parts.push_back(std::move(view));
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
