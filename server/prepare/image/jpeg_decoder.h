// SPDX-License-Identifier: Apache-2.0
//
// JpegDecoder: ordinary JPEG files through libjpeg-turbo itself. Called by FileDecoder.
//
// Why not libvips for these: it hands libjpeg the file in pieces of 4 KiB, and libjpeg-turbo's fast Huffman
// decoder needs 3 KiB of lookahead, so three quarters of the data take the slow one. Same pixels, 1.2 to 1.6
// times the time.

#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"

namespace embedd {

// 8-bit grey, YCbCr or RGB; baseline, progressive or arithmetic. CMYK is left to libvips.
bool JpegDecoderTakes(const ImageHeader& header);

// Pixels along a side when `shrink` (1, 2, 4 or 8) of them become one.
inline int64_t ShrunkSide(int64_t side, int shrink) { return (side + shrink - 1) / shrink; }

// Decodes `file` into `rgb`, RGB8 [header.height, header.width, 3], each side ShrunkSide of it: libjpeg
// leaves out high frequencies before the inverse transform, which costs less than it saves. Thread-safe.
// Errors: CORRUPT_IMAGE when the file is cut short or its data is damaged. (Pillow refuses the first and
// paints the second grey without a word; a grey patch would silently become part of the vector.)
absl::Status DecodeJpeg(absl::string_view file, const ImageHeader& header, uint8_t* rgb, int shrink = 1);

}  // namespace embedd
