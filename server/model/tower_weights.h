// SPDX-License-Identifier: Apache-2.0
//
// TowerWeights: where each tensor of a tower lies in the weights files. Filled by ReadModelFolder after every
// shape was checked; read by Encoder and the fingerprint. The views point into the WeightFiles of the
// ModelFolder. No LibTorch.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/tensor_view.h"
#include "server/model/tower_config.h"
#include "server/model/weight_files.h"

namespace embedd {

// One tensor of the tower, put together from the file.
struct WeightSource {
  std::vector<int64_t> shape;     // as the tower wants it
  std::vector<TensorView> parts;  // joined along the first dimension; one without data is all zero
  bool transposed = false;        // the file holds the (2-D) tensor the other way round
};

struct TowerWeights {
  std::map<std::string, WeightSource> tensors;  // keys of TowerTensors()
};

// How a folder layout spells one tensor of the tower.
struct StoredName {
  std::vector<std::string> parts;  // joined along the first dimension; "" stands for zeros
  bool transposed = false;
  std::vector<int> shares = {};  // of the first dimension that each part holds; empty: all the same
  bool leading_ones = false;     // [1, 1, w] in the file for [w]
};

// Finds every tensor that `config` needs in `files` and checks its type and shape.
//   stored    the layout's names of a tensor of TowerTensors()
//   expected  true for a further tensor that may be in the files and is not read (another tower, scales)
// Errors: kInvalidArgument, naming file and tensor, when one is missing, has a wrong shape or type, or is not
// expected.
absl::StatusOr<TowerWeights> BindWeights(const TowerConfig& config, const WeightFiles& files,
                                         const std::function<StoredName(const std::string&)>& stored,
                                         const std::function<bool(const std::string&)>& expected);

}  // namespace embedd
