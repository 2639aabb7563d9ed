// SPDX-License-Identifier: Apache-2.0
//
// Which layout of a tower's weights is the fastest on this processor.

#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "server/engine/weight_layout.h"
#include "server/model/tower_config.h"

namespace embedd {

// True when this LibTorch and this processor can compute with the layout: kPlain always; the others on cpu,
// for f32, kOneDnn also for bf16 where the processor multiplies it.
bool CanUse(WeightLayout layout, at::Device device, at::ScalarType dtype);

struct MeasuredLayout {
  WeightLayout layout;
  double microseconds_per_token;  // of the MLP of one block
};

// Measures one block of a tower of this shape on cpu in each layout that may be the fastest, for one image
// and for a full batch, and takes panels unless another is a tenth faster. Takes some tens of milliseconds,
// under two seconds for the largest towers; the same shape is measured once in a process. Call it with the
// thread count of the executor. Throws what LibTorch throws.
MeasuredLayout MeasureLayouts(const TowerConfig& config, at::ScalarType dtype);

// The fastest layout for a tower on cpu: what MeasureLayouts takes, where there is a choice. Throws what
// LibTorch throws.
WeightLayout FastestLayout(const TowerConfig& config, at::ScalarType dtype);

}  // namespace embedd
