// SPDX-License-Identifier: Apache-2.0
//
// config.json of a plain timm folder, as timm's push_to_hf_hub saves it: which architecture, how its tokens
// are pooled, how pictures are prepared. The embedding is what `num_classes=0` gives: the classifier of the
// folder is left out. Called by ReadModelFolder; what the tower is made of the tensors say (timm_tower.h).

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/model_spec.h"
#include "server/model/tower_config.h"

namespace embedd {

struct TimmFolderConfig {
  std::string architecture;  // e.g. vit_base_patch16_224
  Pool pool = Pool::kToken;
  int heads = 0;  // where it says so; else the name does
  ImageSpec image;
};

// Whether a config.json is timm's: it names an `architecture` and no `model_type`.
bool IsTimmConfig(absl::string_view text);

absl::StatusOr<TimmFolderConfig> ParseTimmConfig(absl::string_view text, const std::string& file);

}  // namespace embedd
