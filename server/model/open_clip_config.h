// SPDX-License-Identifier: Apache-2.0
//
// Reads open_clip_config.json, the file OpenCLIP saves beside its weights. Used by ReadModelFolder.
// Keys, defaults and meaning: open_clip v3.3.0, model.py (CLIPVisionCfg, CLIPTextCfg), transform.py
// (PreprocessCfg).

#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/model_spec.h"
#include "server/model/text_spec.h"
#include "server/model/tower_config.h"
#include "server/model/tower_layout.h"

namespace embedd {

struct OpenClipConfig {
  // Of OpenCLIP's own towers; of a timm tower the size of the image only, the rest is in its weights.
  TowerConfig vision;
  std::string timm_name;   // or empty
  bool timm_head = false;  // the timm tower's own head projects the embedding
  int embed_dim = 512;
  ImageSpec image;

  // The text tower, where it is one that is read. Its tensors may be there without.
  std::optional<TowerConfig> text;
  TextSpec text_spec;
  bool has_text = false;
  bool text_prefix = false;  // its tensors start with "text."
};

// How OpenCLIP spells the tensors of its own towers.
TowerLayout OpenClipImageLayout();
TowerLayout OpenClipTextLayout(const OpenClipConfig& config);

// Errors: kInvalidArgument for what is wrong or unknown, kUnimplemented for a model family the server cannot
// run. The message names `file` and the key, and says what to do where something can be done.
absl::StatusOr<OpenClipConfig> ParseOpenClipConfig(absl::string_view json, const std::string& file);

// True for a tensor of the text tower or a scale: known, not read.
bool IsUnusedOpenClipTensor(const OpenClipConfig& config, absl::string_view name);

}  // namespace embedd
