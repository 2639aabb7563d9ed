// SPDX-License-Identifier: Apache-2.0
//
// WebpDecoder: still WebP images through libwebp itself, which writes RGB into our buffer; libvips decodes
// into its own and copies twice (1.3 to 1.8 times the time). Called by FileDecoder.

#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"

namespace embedd {

// Animations are left to libvips, which puts the first frame onto its canvas.
bool WebpDecoderTakes(absl::string_view file, const ImageHeader& header);

// Decodes `file` into `rgb`, RGB8 [header.height, header.width, 3]; alpha is dropped. Thread-safe.
// Errors: CORRUPT_IMAGE.
absl::Status DecodeWebp(absl::string_view file, const ImageHeader& header, uint8_t* rgb);

}  // namespace embedd
