// SPDX-License-Identifier: Apache-2.0
//
// PngDecoder: PNG files, with zlib alone. Called by FileDecoder.
//
// Why not libpng: it cannot say whether pixels are missing. It stops at a wrong CRC though the checksum of
// the pixels (Adler-32) holds, and never looks at that checksum once the last row has come.

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"
#include "server/prepare/image/row_target.h"

namespace embedd {

// Decodes `file` into `rows`, which has room for all of them unless header.by_rows. Read when all rows come
// out of the stream and no checksum over them is wrong: Adler-32 decides where the stream has one, else the
// CRCs of its chunks. Thread-safe. Errors: CORRUPT_IMAGE, HOST_MEMORY.
absl::Status DecodePng(absl::string_view file, const ImageHeader& header, RowTarget* rows);

}  // namespace embedd
