// SPDX-License-Identifier: Apache-2.0
//
// Reads config.json of a Hugging Face folder: which family it is, the towers it describes, and how its
// weights file names their tensors. Used by ReadModelFolder. Keys, defaults and meaning: transformers,
// models/*/configuration_*.py. Such a config holds what differs from the defaults, and many keys that are not
// about inference, so unknown keys are no error here.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/hf_preprocessor.h"
#include "server/model/text_spec.h"
#include "server/model/tower_config.h"
#include "server/model/tower_layout.h"

namespace embedd {

// kNaflex is SigLIP2 of images of any shape.
enum class HfFamily { kClip, kSiglip, kNaflex, kDinov2, kDinov3, kVit };

struct HfModel {
  HfFamily family = HfFamily::kClip;
  TowerConfig image;
  std::optional<TowerConfig> text;  // its tokenizer's part of `text_spec` is set by who sees the files
  TextSpec text_spec;
  HfProcessor processor = HfProcessor::kClip;  // where the processor's file does not say its class
  bool image_size_of_processor = false;        // the tower takes what the processor makes
};

// Errors: kInvalidArgument or kUnimplemented; the message names `file` and the key, and for a family that is
// not served says what to do.
absl::StatusOr<HfModel> ParseHfConfig(absl::string_view json, const std::string& file);

// How the family spells the tensors of its towers, the prefix left out of the image tower's.
TowerLayout HfImageLayout(const HfModel& model);
TowerLayout HfTextLayout(const HfModel& model);

// What may stand before the image tower's names, and a tensor that every such tower has.
std::vector<std::string> HfPrefixes(HfFamily family);
std::string HfProbe(HfFamily family);

// True for a tensor of the text tower, a scale, or a part that no embedding needs: known, not read.
bool IsUnusedHfTensor(absl::string_view name);

}  // namespace embedd
