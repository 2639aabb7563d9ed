// SPDX-License-Identifier: Apache-2.0
//
// The check that a device computes what the cpu computes, on fixed inputs. GPU kernels, drivers and systems
// have shipped that answer fast and wrong; a server must refuse to serve from one. Used by
// TorchExecutor::Load.

#pragma once

#include "absl/status/status.h"
#include "server/device/executor.h"
#include "server/model/model_folder.h"

namespace embedd {

// Embeds two fixed images with `executor` (loaded) and with a plain f32 tower of `model` on the cpu, which
// takes the model's f32 size in host memory for a moment. Errors: kFailedPrecondition, with the figure, when
// a cosine is below `lowest` or a number is not finite; what Run answers.
absl::Status CheckParity(const ModelFolder& model, double lowest, Executor& executor);

// The same of two fixed texts and the text tower.
absl::Status CheckTextParity(const ModelFolder& model, double lowest, Executor& executor);

}  // namespace embedd
