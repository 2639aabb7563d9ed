// SPDX-License-Identifier: Apache-2.0
//
// BmpDecoder: Windows and OS/2 bitmaps, as Pillow reads them. Called by FileDecoder, and ReadBmpHeader by
// ReadImageHeader. Own code: no library that is kept well reads BMP alone.

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

struct BmpHeader {
  int64_t width = 0;
  int64_t height = 0;
  bool top_down = false;
  int bits = 0;  // per pixel
  enum class Packing { kNone, kRle8, kRle4 } packing = Packing::kNone;
  enum class Layout { kPalette, kRgb555, kRgb565, kBytes } layout = Layout::kPalette;
  int red = 2, green = 1, blue = 0;  // kBytes: which byte of a pixel
  absl::string_view palette;         // kPalette: entries of palette_step bytes, blue first
  int palette_step = 4;
  size_t data = 0;  // where the pixels begin
};

// Errors: CORRUPT_IMAGE; UNSUPPORTED_FORMAT for what Pillow does not read either.
absl::StatusOr<BmpHeader> ReadBmpHeader(absl::string_view file);

// Decodes `file` into `rgb`, RGB8 [height, width, 3]. Errors: as above.
absl::Status DecodeBmp(absl::string_view file, uint8_t* rgb);

}  // namespace embedd
