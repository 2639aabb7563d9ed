// SPDX-License-Identifier: Apache-2.0
//
// Reads how a Hugging Face folder prepares images: preprocessor_config.json, or the part of it that a
// processor_config.json holds. Used by ReadModelFolder. Keys, defaults and meaning: transformers,
// models/*/image_processing_*.py.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/model_spec.h"
#include "server/model/tower_config.h"

namespace embedd {

// The class of the processor decides what a key that is absent means, and a size that is one number.
enum class HfProcessor { kClip, kSiglip, kSiglip2, kBit, kVit, kDinov3 };

// `fallback`: the class where the file does not say it. The image must come out at the size `vision` takes,
// unless `any_size`; in patches of its size where it takes images of any shape. Errors: kInvalidArgument or
// kUnimplemented; the message names `file` and the key.
absl::StatusOr<ImageSpec> ParseHfPreprocessor(absl::string_view json, const std::string& file,
                                              const TowerConfig& vision,
                                              HfProcessor fallback = HfProcessor::kClip,
                                              bool any_size = false);

}  // namespace embedd
