// SPDX-License-Identifier: Apache-2.0
//
// ImageDecoder: bytes of an image file in, RGB pixels out, or what a tower takes of them. FileDecoder is the
// real one, FaultyDecoder the one that fails on demand. Thread-safe: many decode workers share one.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/model_spec.h"
#include "server/prepare/image/image_format.h"
#include "server/telemetry/reason.h"

namespace embedd {

// RGB8, rows top to bottom, no padding: 3 * width * height bytes.
struct RgbImage {
  int width = 0;
  int height = 0;
  std::unique_ptr<uint8_t[]> rgb;
};

class ImageDecoder {
 public:
  struct Limits {
    int64_t max_image_bytes = int64_t{32} << 20;
    int64_t max_pixels = 64'000'000;
    FormatSet formats;
  };

  virtual ~ImageDecoder() = default;

  // Decodes a file of one of Limits::formats, told apart by content, as Pillow's Image.open(f).convert("RGB")
  // would. The header is checked against the limits before any pixel is decoded. A picture is read when every
  // pixel is there, and refused when pixels are missing or a checksum over them is wrong.
  // Errors: a reason (see DecodeReason) and a message for people: UNSUPPORTED_FORMAT, CORRUPT_IMAGE,
  // IMAGE_TOO_LARGE; HOST_MEMORY when there is no memory for this picture.
  virtual absl::StatusOr<RgbImage> Decode(absl::string_view file) const = 0;

  // Writes what Preprocess makes of the picture for `spec` to `out`, spec.bytes() of it. The whole picture
  // need not exist for that: a decoder may leave out what the crop does not show, with the same bytes as a
  // result, and resolution where spec.decode is kFast, of which it leaves at least twice what the resize
  // keeps. Errors: as Decode; `out` is then of no use.
  virtual absl::Status Prepare(absl::string_view file, const ImageSpec& spec, uint8_t* out) const;
};

// Makes an error with a reason, which travels as a payload of the status and reaches the caller as
// InputError.reason; and reads the reason back (kNone when there is none).
absl::Status DecodeError(Reason reason, absl::string_view message);
Reason DecodeReason(const absl::Status& status);
// The error of a picture for which the host has no memory.
absl::Status NoHostMemory();

}  // namespace embedd
