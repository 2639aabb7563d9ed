// SPDX-License-Identifier: Apache-2.0
//
// Reads a Hugging Face CLIP folder: config.json (model_type "clip" or "clip_vision_model") and
// preprocessor_config.json (CLIPImageProcessor) or processor_config.json, where it is the "image_processor",
// and says how its weights file names the tensors of the tower. Used by ReadModelFolder. Keys, defaults and
// meaning: transformers, models/clip/{configuration_clip,image_processing_clip}.py. Such a config holds what
// differs from the defaults, and many keys that are not about inference, so unknown keys are no error here.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/model_spec.h"
#include "server/model/vision_config.h"
#include "server/model/vision_weights.h"

namespace embedd {

// Errors of both: kInvalidArgument or kUnimplemented; the message names `file` and the key.
absl::StatusOr<VisionConfig> ParseHfClipConfig(absl::string_view json, const std::string& file);
// The image must come out at the size `vision` takes.
absl::StatusOr<ImageSpec> ParseHfPreprocessor(absl::string_view json, const std::string& file,
                                              const VisionConfig& vision);

// The Hugging Face names of a tensor of VisionTensors(). `prefix` stands before those of the tower.
StoredName HfStoredName(const std::string& name, const std::string& prefix = "vision_model.");
// True for a tensor of the text tower or a scale: known, not read.
bool IsUnusedHfTensor(absl::string_view name);

}  // namespace embedd
