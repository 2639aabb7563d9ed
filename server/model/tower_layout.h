// SPDX-License-Identifier: Apache-2.0
//
// TowerLayout: how one kind of folder spells the tensors of TowerTensors(), as a table. Used by the readers
// of families. No LibTorch.

#pragma once

#include <map>
#include <string>

#include "server/model/tower_config.h"
#include "server/model/tower_weights.h"

namespace embedd {

struct TowerLayout {
  // Before everything, but for what starts with "/".
  std::string prefix;
  // Before the number of a block.
  std::string block;
  // A tensor's name, or its name without ".weight" and ".bias", to what stands in the file. In blocks, what
  // comes after the number. "a+b" joins two along the first dimension, "a^T" is stored the other way round.
  std::map<std::string, std::string> names;
};

// The names of a tensor of TowerTensors(config). Biases of queries, keys or values that the tower has not got
// are zeros.
StoredName Spell(const TowerLayout& layout, const TowerConfig& config, const std::string& name);

}  // namespace embedd
