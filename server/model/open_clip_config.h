// SPDX-License-Identifier: Apache-2.0
//
// Reads open_clip_config.json, the file OpenCLIP saves beside its weights. Used by ReadModelFolder.
// Keys, defaults and meaning: open_clip v3.3.0, model.py (CLIPVisionCfg, CLIPTextCfg), transform.py
// (PreprocessCfg).

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/model_spec.h"
#include "server/model/vision_config.h"

namespace embedd {

struct OpenClipConfig {
  VisionConfig vision;
  ImageSpec image;

  // What the text tower, if any, is called in the weights file. The tower itself is not used.
  bool has_text = false;
  bool text_prefix = false;  // its tensors start with "text."
};

// Errors: kInvalidArgument for what is wrong or unknown, kUnimplemented for a model family the server cannot
// run. The message names `file` and the key, and says what to do where something can be done.
absl::StatusOr<OpenClipConfig> ParseOpenClipConfig(absl::string_view json, const std::string& file);

// True for a tensor of the text tower or a scale: known, not read.
bool IsUnusedOpenClipTensor(const OpenClipConfig& config, absl::string_view name);

}  // namespace embedd
