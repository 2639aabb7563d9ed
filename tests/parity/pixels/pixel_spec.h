// SPDX-License-Identifier: Apache-2.0
//
// Reads the names of preprocessing specs that test_pixels.py and pixel_dump share, such as
// "224x224:shortest:bicubic", "336x224:longest:bilinear:fill=127", "224x224:shortest:bicubic:floor". Width
// first. "16x256:patches:bilinear": up to 256 patches of 16 x 16 pixels.

#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "server/model/model_spec.h"

namespace embedd {

// Nothing when `text` is no spec.
std::optional<ImageSpec> ParsePixelSpec(absl::string_view text);

}  // namespace embedd
