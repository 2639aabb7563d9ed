// SPDX-License-Identifier: Apache-2.0
//
// ImageHeader: what the first bytes of an image file say, read by ourselves before any library sees the file.
// Called by the decoders, and by whoever wants to know the number of pixels in advance. Decodes nothing,
// allocates nothing.

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_decoder.h"
#include "server/prepare/image/image_format.h"

namespace embedd {

struct ImageHeader {
  ImageFormat format = ImageFormat::kJpeg;
  int64_t width = 0;  // of the picture as it is decoded
  int64_t height = 0;
  int channels = 3;         // JPEG: components of the frame
  bool arithmetic = false;  // JPEG: arithmetic coding, which has no end of its own
  bool lossless = false;    // JPEG: a coding that has nothing to leave out
  bool by_rows = false;     // its decoder makes the rows from the top down
  int orientation = 1;      // TIFF: 1 to 8; Pillow turns TIFF files, and no others; 5 to 8 swap the sides

  int64_t pixels() const { return width * height; }
};

// Errors: UNSUPPORTED_FORMAT (the message names what the bytes look like, and what to do), CORRUPT_IMAGE.
absl::StatusOr<ImageHeader> ReadImageHeader(absl::string_view file, const FormatSet& formats = FormatSet());

// ReadImageHeader, and refuses what is over the limits.
absl::StatusOr<ImageHeader> ReadHeaderWithin(absl::string_view file, const ImageDecoder::Limits& limits);

// Room for the pixels, not yet written. HOST_MEMORY when there is none.
absl::StatusOr<RgbImage> AllocateImage(const ImageHeader& header);

// IMAGE_TOO_LARGE, with the size and the limit in the message.
absl::Status CheckBytes(absl::string_view file, const ImageDecoder::Limits& limits);
absl::Status CheckPixels(const ImageHeader& header, const ImageDecoder::Limits& limits);

}  // namespace embedd
