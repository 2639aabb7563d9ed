// SPDX-License-Identifier: Apache-2.0
//
// LabToRgb: CIE L*a*b* in bytes to sRGB through lcms2, as Pillow converts it. Used by TiffDecoder. No profile
// is read from a file: both ends are built into the library.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace embedd {

// Converts `pixels` of 3 bytes in place: L*, then a* and b*, signed, or with 128 added to them. Thread-safe.
// Errors: HOST_MEMORY.
absl::Status LabToRgb(uint8_t* pixels, int64_t count, bool is_signed);

// Of the library at run time.
std::string LcmsVersion();

}  // namespace embedd
