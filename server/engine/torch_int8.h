// SPDX-License-Identifier: Apache-2.0
//
// Calibration of int8 and its proof: what goes into each layer is noted while a plain f32 tower embeds drawn
// pictures, and the int8 tower that is made from it must give nearly the vectors of f32 for other pictures.
// Used by TorchExecutor::Load, once; offloading and loading again needs no second calibration. Sees LibTorch.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "server/device/executor.h"
#include "server/engine/int8_product.h"
#include "server/model/model_folder.h"

namespace embedd {

struct Int8Calibration {
  InputRanges ranges;
  std::vector<float> wanted;  // the f32 rows of the pictures that the check compares
};

// Takes the model's f32 size in memory until it returns, and the time of 48 images in f32. Errors: as
// CatchTorch.
absl::StatusOr<Int8Calibration> CalibrateInt8(const ModelFolder& model);

// Embeds the held-out pictures with `executor`, which runs in int8. Errors: kInvalidArgument, with the figure
// and what to do, when the least cosine is below `lowest` or not a number; what Run answers.
absl::StatusOr<Int8Accuracy> CheckInt8(const ModelFolder& model, const Int8Calibration& calibration,
                                       double lowest, Executor& executor);

}  // namespace embedd
