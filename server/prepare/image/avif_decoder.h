// SPDX-License-Identifier: Apache-2.0
//
// AvifDecoder: the primary picture of an AVIF file through dav1d. Called by FileDecoder.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"

namespace embedd {

// Decodes `file` into `rgb`, RGB8 [header.height, header.width, 3]; turning, mirroring and alpha are ignored,
// as Pillow does. A coded frame of more than `max_pixels` is refused before it is decoded. Thread-safe.
// Errors: CORRUPT_IMAGE, UNSUPPORTED_FORMAT, IMAGE_TOO_LARGE, HOST_MEMORY.
absl::Status DecodeAvif(absl::string_view file, const ImageHeader& header, int64_t max_pixels, uint8_t* rgb);

// Of the library at run time.
std::string Dav1dVersion();

}  // namespace embedd
