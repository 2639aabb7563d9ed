// SPDX-License-Identifier: Apache-2.0
//
// GifDecoder: the first frame of a GIF, as Pillow shows it. Called by FileDecoder, and FindGifFrame by
// ReadImageHeader. Own code: the format is small, and giflib reads files through a global state of its own
// making.

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

struct GifFrame {
  int64_t canvas_width = 0;  // of the screen, grown where the frame reaches beyond it
  int64_t canvas_height = 0;
  int64_t x = 0, y = 0, width = 0, height = 0;  // of the frame
  bool interlaced = false;
  int transparent = -1;       // index, or -1
  absl::string_view palette;  // RGB triples; empty: an index is a grey level
  int code_bits = 0;          // of the first code
  size_t data = 0;            // where the blocks of codes begin
};

// Errors: CORRUPT_IMAGE.
absl::StatusOr<GifFrame> FindGifFrame(absl::string_view file);

// Decodes the first frame of `file` onto its canvas, RGB8 [canvas_height, canvas_width, 3]. Errors:
// CORRUPT_IMAGE.
absl::Status DecodeGif(absl::string_view file, uint8_t* rgb);

}  // namespace embedd
