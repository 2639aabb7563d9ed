// SPDX-License-Identifier: Apache-2.0
//
// Pictures for `bench` that need no file: gradients and squares with a little noise, as compressible as
// photographs.

#pragma once

#include <cstdint>
#include <string>

namespace embedd::ctl {

// RGB pixels, 3 * width * height bytes; each `seed` gives another picture, the same everywhere.
std::string SyntheticPixels(uint32_t width, uint32_t height, uint32_t seed);

}  // namespace embedd::ctl
