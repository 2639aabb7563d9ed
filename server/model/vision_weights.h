// SPDX-License-Identifier: Apache-2.0
//
// VisionWeights: where each tensor of an image tower lies in its file. Filled by ReadModelFolder after every
// shape was checked; read by VisionTower and the fingerprint. Owns the mapped file that the views point into.
// No LibTorch.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/model/safetensors.h"
#include "server/model/vision_config.h"

namespace embedd {

// One tensor of the tower, put together from the file.
struct WeightSource {
  std::vector<int64_t> shape;     // as the tower wants it
  std::vector<TensorView> parts;  // joined along the first dimension; nearly always one
  bool transposed = false;        // the file holds the (2-D) tensor the other way round
};

struct VisionWeights {
  std::unique_ptr<SafetensorsFile> file;
  std::map<std::string, WeightSource> tensors;  // keys of VisionTensors()
};

// How a folder layout spells one tensor of the tower.
struct StoredName {
  std::vector<std::string> parts;
  bool transposed = false;
};

// Finds every tensor that `config` needs in `file` and checks its type and shape.
//   stored    the layout's names of a tensor of VisionTensors()
//   expected  true for a further tensor that may be in the file and is not read (text tower, scales)
// Errors: kInvalidArgument, naming file and tensor, when one is missing, has a wrong shape or type, or is not
// expected.
absl::StatusOr<VisionWeights> BindWeights(const VisionConfig& config, std::unique_ptr<SafetensorsFile> file,
                                          const std::function<StoredName(const std::string&)>& stored,
                                          const std::function<bool(const std::string&)>& expected);

}  // namespace embedd
