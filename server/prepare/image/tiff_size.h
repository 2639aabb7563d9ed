// SPDX-License-Identifier: Apache-2.0
//
// The size of the first page of a TIFF file, read by ourselves so that the limits are checked before any
// library sees the file. Called by ReadImageHeader.

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

struct TiffSize {
  int64_t width = 0;  // as stored
  int64_t height = 0;
  int orientation = 1;  // 1 to 8
};

// Classic and BigTIFF, either byte order. Errors: CORRUPT_IMAGE.
absl::StatusOr<TiffSize> ReadTiffSize(absl::string_view file);

}  // namespace embedd
