// SPDX-License-Identifier: Apache-2.0
//
// WebpDecoder: WebP images, still or the first frame of an animation, through libwebp, which writes RGB into
// our buffer. Called by FileDecoder. The container is walked here: libwebp refuses a file that lacks bytes
// behind its pixels.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"

namespace embedd {

// Decodes `file` into `rgb`, RGB8 [header.height, header.width, 3]; alpha is dropped, and what a first frame
// does not cover is black. Thread-safe. Errors: CORRUPT_IMAGE, HOST_MEMORY.
absl::Status DecodeWebp(absl::string_view file, const ImageHeader& header, uint8_t* rgb);

// Of the library at run time.
std::string WebpVersion();

}  // namespace embedd
