// SPDX-License-Identifier: Apache-2.0
//
// The colour rules of Pillow's convert("RGB"), from decoded samples of any kind to RGB8. Used by the
// decoders.

#pragma once

#include <cstdint>

namespace embedd {

enum class PixelRule {
  kGray8,    // 1 byte: repeated
  kGrayA8,   // 2 bytes: alpha is dropped, not blended
  kRgb8,     // 3 bytes
  kRgba8,    // 4 bytes: alpha is dropped
  kCmyk8,    // 4 bytes, 0 = no ink
  kPaper8,   // the same, 255 = no ink, as Photoshop writes it into JPEG
  kGray16,   // one 16-bit sample: everything above 255 is white (Pillow clips, it does not scale)
  kGrayA16,  // 16-bit grey and alpha: high byte of grey
  kRgb16,    // three 16-bit samples: high bytes
  kRgba16,   // four: high bytes, alpha dropped
  kYcc8,     // 3 bytes of luma and chroma as they lie in a file, full range
};

// `count` pixels from `in` (16-bit samples in native order) to `out`, 3 bytes each.
void ToRgb(PixelRule rule, const uint8_t* in, int64_t count, uint8_t* out);

}  // namespace embedd
