// SPDX-License-Identifier: Apache-2.0
//
// RotaryPositions: turns queries and keys by the place of their patch, as EVA02, PE-Core and DINOv3 do. Part
// of Encoder. Both kinds become one here: halves of a head turn against each other. Where a model turns
// neighbours, the rows of its query and key weights are put into another order at load, which no product of a
// query and a key notices.

#pragma once

#include <ATen/core/Tensor.h>

#include "server/model/tower_config.h"

namespace embedd {

// Rows of a weight or bias of queries or keys [width, ...], in the order in which the halves of each head
// turn.
at::Tensor ToHalves(const at::Tensor& rows, int64_t heads);

class RotaryPositions {
 public:
  RotaryPositions() = default;
  // Of a tower with config.rope. Angles are computed in f32 whatever the type of the tower.
  RotaryPositions(const TowerConfig& config, at::Device device);

  bool used() const { return cos_.defined(); }

  // x [n, tokens, k * width], any number of queries and keys side by side; its last dimension is dense.
  // Prefix tokens stay. In place where it can.
  at::Tensor Turn(at::Tensor x) const;

 private:
  at::Tensor cos_, sin_;  // f32 [tokens, head_dim / 2]
};

}  // namespace embedd
