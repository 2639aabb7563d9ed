// SPDX-License-Identifier: Apache-2.0
//
// ForwardTexts: hands prepared token ids to a text tower, on its device. Part of TorchExecutor.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/encoder.h"
#include "server/model/text_spec.h"
#include "server/model/tower_config.h"

namespace embedd {

// kInternal when an id of one of the texts is not in the vocabulary: a device would read what is not there.
absl::Status CheckIds(const TowerConfig& config, absl::Span<const uint8_t* const> texts);

// What `tower` makes of the texts, int32 ids [context_length] each: float32 [m, embed_dim] on the device. m
// is texts.size() on cpu, where a causal tower also leaves out what stands behind the longest text; elsewhere
// shapes are fixed, and it is `count` (>= texts.size()). Throws what LibTorch throws.
at::Tensor ForwardTexts(const Encoder& tower, const TowerConfig& config, const TextSpec& spec,
                        absl::Span<const uint8_t* const> texts, int64_t count, at::Device device);

}  // namespace embedd
