// SPDX-License-Identifier: Apache-2.0
//
// Encodes test pictures as JPEG, so that `bench` needs no image library. Baseline, 4:2:0, one fixed Huffman
// table; plain rather than fast.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace embedd::ctl {

// `rgb`: 3 * width * height bytes, rows top to bottom. Sides 1 to 65535. `quality` 1 to 100, as libjpeg
// counts it.
std::string EncodeJpeg(std::string_view rgb, uint32_t width, uint32_t height, int quality);

}  // namespace embedd::ctl
