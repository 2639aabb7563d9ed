// SPDX-License-Identifier: Apache-2.0
//
// Image towers of timm, by timm's name: what a name says that is in no file (activation, eps, width of a
// head, pool, rotary positions) is a table here; widths, depth and which parts exist are seen in the tensors.
// Used by ReadModelFolder for open_clip folders with a timm_model_name, and for plain timm folders. After
// timm 1.0.31, models/{vision_transformer,vision_transformer_hybrid,eva}.py.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/model/tower_config.h"
#include "server/model/tower_layout.h"
#include "server/model/weight_files.h"

namespace embedd {

struct TimmTower {
  TowerConfig config;
  TowerLayout layout;
};

// kUnimplemented, saying `where` (file and key) and what to do, for a name that is not in the table.
absl::Status CheckTimmName(const std::string& name, const std::string& where);

//   where    file and key that named it, for messages
//   height   of the image, and width
//   prefix   of its tensors: "visual.trunk." or ""
//   head     whether the trunk's own classifier projects the embedding
absl::StatusOr<TimmTower> ReadTimmTower(const std::string& name, const std::string& where, int height,
                                        int width, const WeightFiles& files, const std::string& prefix,
                                        bool head);

}  // namespace embedd
