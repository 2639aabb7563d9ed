// SPDX-License-Identifier: Apache-2.0
//
// Whether the data of an arithmetic-coded JPEG ends where its picture does. Called by JpegDecoder.
//
// Arithmetic coding has no end of its own: behind the last byte a decoder reads zeros, and an encoder may
// leave zeros out, so a file cut in the middle decodes without a word. But the pixels of a whole file do not
// depend on what stands behind its data, beyond its last few blocks and a flat rest; those of a cut one do.

#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"

namespace embedd {

// Decodes the coefficients twice, with zeros and with other bytes behind each part of the data, and compares.
// Errors: as DecodeJpeg.
absl::Status CheckArithmeticEnds(absl::string_view file, const ImageHeader& header);

}  // namespace embedd
