// SPDX-License-Identifier: Apache-2.0
//
// LoadWeight, ViewWeight: from the mapped file to a tensor. Used by Encoder. Sees LibTorch.

#pragma once

#include <ATen/core/Tensor.h>

#include "server/model/tower_weights.h"

namespace embedd {

// The tensor in the tower's shape on the CPU, as `dtype`: where the file's bytes may be used as they lie, a
// view of them, for whoever reads it once, before the file's pages go. Any strides; never written to.
// Throws what LibTorch throws.
at::Tensor ViewWeight(const WeightSource& source, at::ScalarType dtype, double scale = 1);

// The tensor in the tower's shape, contiguous, in memory of its own on `device`, as `dtype`.
// Joins, transposes, multiplies by `scale` (in f32) and casts on the CPU, then copies once (blocking).
// Throws what LibTorch throws.
at::Tensor LoadWeight(const WeightSource& source, at::Device device, at::ScalarType dtype, double scale = 1);

}  // namespace embedd
