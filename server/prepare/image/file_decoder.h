// SPDX-License-Identifier: Apache-2.0
//
// FileDecoder: the ImageDecoder of the server. Sends each format to its own decoder; there is one for each
// row of AllFormats().

#pragma once

#include <memory>
#include <string>

#include "server/prepare/image/image_decoder.h"
#include "server/prepare/image/image_header.h"
#include "server/prepare/image/jpeg_decoder.h"

namespace embedd {

class FileDecoder : public ImageDecoder {
 public:
  static absl::StatusOr<std::unique_ptr<FileDecoder>> Create(const Limits& limits);

  absl::StatusOr<RgbImage> Decode(absl::string_view file) const override;
  // Leaves out of a JPEG what the crop does not show, and shrinks ordinary JPEG by 2, 4 or 8 while it is
  // decoded where spec.decode is kFast. Rows of JPEG and PNG are resized as they come.
  absl::Status Prepare(absl::string_view file, const ImageSpec& spec, uint8_t* out) const override;

 private:
  explicit FileDecoder(const Limits& limits) : limits_(limits) {}

  // All pixels; a JPEG as `options` say.
  absl::StatusOr<RgbImage> Run(absl::string_view file, const ImageHeader& header,
                               const JpegOptions& options) const;

  const Limits limits_;
};

// The libraries that decode, each with its version: "libjpeg-turbo 2.1.5, zlib 1.2.13, ...".
std::string CodecVersions();

}  // namespace embedd
