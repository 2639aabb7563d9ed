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

// Measures one block of a tower of this shape on cpu in each layout that can be used, for one image and for a
// full batch, and takes panels unless another is a tenth faster. Takes some tens of milliseconds, under two
// seconds for the largest towers. Call it with the thread count of the executor. Throws what LibTorch throws.
MeasuredLayout MeasureLayouts(const TowerConfig& config, at::ScalarType dtype);

// The fastest layout for a tower on cpu: what MeasureLayouts takes, but for f32 with AVX2 and no AVX-512,
// where it is panels without asking (on Zen 3, two threads, plain over panels: 1.5 to 2 at one image, 1.03
// to 1.1 at sixteen; oneDNN's layout loses there). Throws what LibTorch throws.
WeightLayout FastestLayout(const TowerConfig& config, at::ScalarType dtype);

}  // namespace embedd
