// SPDX-License-Identifier: Apache-2.0
//
// JPEG files of the lossless coding (SOF3): each sample is predicted from its neighbours. Called by
// JpegDecoder. Own code: libjpeg-turbo knows it from version 3 on only, and the systems that this runs on
// have version 2.

#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"
#include "server/prepare/image/row_target.h"

namespace embedd {

// Decodes `file` into `rows`: 8 bits, grey, RGB or CMYK, which is what libjpeg-turbo 3 reads into 8 bits.
// Errors: CORRUPT_IMAGE, UNSUPPORTED_FORMAT.
absl::Status DecodeLosslessJpeg(absl::string_view file, const ImageHeader& header, RowTarget* rows);

}  // namespace embedd
