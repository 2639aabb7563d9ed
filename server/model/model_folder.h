// SPDX-License-Identifier: Apache-2.0
//
// ReadModelFolder: a folder on disk in, everything the executor needs to run the model out. Reads OpenCLIP
// folders (open_clip_config.json beside the weights), Hugging Face CLIP folders (config.json with model_type
// "clip") and sentence-transformers folders that hold one (modules.json). Called once by main; maps the
// weights, copies nothing. No LibTorch.

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/model/model_spec.h"
#include "server/model/vision_config.h"
#include "server/model/vision_weights.h"
#include "server/model/weight_files.h"

namespace embedd {

struct ModelFolder {
  std::string name;  // last part of the path
  VisionConfig vision;
  ImageSpec image;
  std::unique_ptr<WeightFiles> files;  // what the views of `weights` point into
  VisionWeights weights;
};

// Errors: kNotFound (no folder, no file), kInvalidArgument (something in a file is wrong) or kUnimplemented
// (a kind of model the server cannot run). The message names the file and the key or tensor, and says what to
// do where it can.
absl::StatusOr<ModelFolder> ReadModelFolder(const std::string& path);

// The spec of the model as it runs on `device` with `dtype`, fingerprint included. Reads all weights once.
ModelSpec MakeModelSpec(const ModelFolder& folder, const std::string& device, const std::string& dtype);

}  // namespace embedd
