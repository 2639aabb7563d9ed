// SPDX-License-Identifier: Apache-2.0
//
// Positions of images of any shape: the learned square of positions, resized to the grid of each image. Part
// of Encoder. The resize is linear, so it is a product: weights that depend on the grid alone, with the
// learned positions. It is made anew for each image, a four hundredth of what a ViT-B computes for one.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/types/span.h"
#include "server/model/patch_grid.h"

namespace embedd {

// Weights of torch's bilinear resize with antialias, from side x side positions to the grid of each image:
// f32 [n, tokens, side * side] on cpu, row by row; zeros behind the patches of an image.
at::Tensor GridPositionWeights(absl::Span<const PatchGrid> grids, int64_t tokens, int64_t side);

}  // namespace embedd
