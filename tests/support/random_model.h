// SPDX-License-Identifier: Apache-2.0
//
// Writes model folders with random weights, so that tests and benchmarks need no download: the cost of a
// model does not depend on its numbers. Also the safetensors writer of the tests.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/model/tower_config.h"

namespace embedd {

// Tensors to write, by name: shape and values, row-major.
struct HostTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// Writes a safetensors file of F32 tensors, or of the same numbers as F64.
absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, HostTensor>& tensors,
                              bool as_f64 = false);

// Random weights of every tensor in TowerTensors(config), equal for equal seeds on every machine, scaled so
// that activations stay of order one through all layers.
std::map<std::string, HostTensor> RandomWeights(const TowerConfig& config, uint64_t seed);

// Makes `folder` (with its parents) an OpenCLIP folder: open_clip_config.json and
// open_clip_model.safetensors, image tower only, OpenAI's mean and std, bicubic, shortest. config.width must
// be a multiple of config.heads.
absl::Status WriteRandomModel(const std::string& folder, const TowerConfig& config, uint64_t seed);

// Makes `folder` (with its parents) a Hugging Face folder of a NaFlex image tower (model_type
// siglip2_vision_model) with random weights: width 64, 2 layers, patches of 8 pixels, up to 24 of them, a
// square of 4 x 4 positions.
absl::Status WriteNaflexModel(const std::string& folder, uint64_t seed);

// The configuration text WriteRandomModel writes.
std::string OpenClipConfigJson(const TowerConfig& config);

}  // namespace embedd
