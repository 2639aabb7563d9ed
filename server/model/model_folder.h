// SPDX-License-Identifier: Apache-2.0
//
// ReadModelFolder: a folder on disk in, everything the executor needs to run the model out. Reads OpenCLIP
// folders (open_clip_config.json beside the weights), Hugging Face folders (config.json with a model_type),
// plain timm folders (config.json with an architecture) and sentence-transformers folders whose first module
// is a Hugging Face CLIP (modules.json). Called by main, once for each device; maps the weights, copies
// nothing. No LibTorch.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/model/model_spec.h"
#include "server/model/text_spec.h"
#include "server/model/tower_config.h"
#include "server/model/tower_weights.h"
#include "server/model/weight_files.h"
#include "server/telemetry/device_kind.h"

namespace embedd {

struct TextTower {
  TowerConfig config;
  TextSpec spec;  // how texts become ids
  TowerWeights weights;
};

struct ModelFolder {
  std::string name;  // last part of the path
  TowerConfig vision;
  ImageSpec image;
  std::unique_ptr<WeightFiles> files;  // what the views of `weights` point into
  TowerWeights weights;
  std::optional<TextTower> text;      // where the folder has one that is read
  std::optional<double> logit_scale;  // of a model with text: the factor of cosines, and what is added
  std::optional<double> logit_bias;
};

// Errors: kNotFound (no folder, no file), kInvalidArgument (something in a file is wrong) or kUnimplemented
// (a kind of model the server cannot run). The message names the file and the key or tensor, and says what to
// do where it can.
absl::StatusOr<ModelFolder> ReadModelFolder(const std::string& path);

// The spec of the model as it runs on `device` with `dtype`, fingerprint included. Reads all weights once.
ModelSpec MakeModelSpec(const ModelFolder& folder, DeviceKind device, Dtype dtype);

}  // namespace embedd
