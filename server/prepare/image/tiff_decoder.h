// SPDX-License-Identifier: Apache-2.0
//
// TiffDecoder: the first page of a TIFF file through libtiff, for the layouts of samples that Pillow reads.
// Called by FileDecoder.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"

namespace embedd {

// Decodes `file` into `rgb`, RGB8 [header.height, header.width, 3], turned as header.orientation says.
// Thread-safe. Errors: CORRUPT_IMAGE, UNSUPPORTED_FORMAT, IMAGE_TOO_LARGE (a tile), HOST_MEMORY.
absl::Status DecodeTiff(absl::string_view file, const ImageHeader& header, uint8_t* rgb);

// Of the library at run time.
std::string TiffVersion();

}  // namespace embedd
