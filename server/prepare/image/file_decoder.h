// SPDX-License-Identifier: Apache-2.0
//
// FileDecoder: the ImageDecoder of the server. Sends each format to its own decoder; there is one for each
// row of AllFormats().

#pragma once

#include <memory>
#include <string>

#include "server/prepare/image/image_decoder.h"
#include "server/prepare/image/image_header.h"
#include "server/prepare/image/preprocess.h"

namespace embedd {

class FileDecoder : public ImageDecoder {
 public:
  static absl::StatusOr<std::unique_ptr<FileDecoder>> Create(const Limits& limits);

  absl::StatusOr<RgbImage> Decode(absl::string_view file) const override;
  // Leaves out of a JPEG what the crop does not show.
  absl::StatusOr<RgbImage> DecodePart(absl::string_view file, const ImageSpec& spec) const override;
  // Shrinks ordinary JPEG while it is decoded, by 2, 4 or 8.
  absl::StatusOr<RgbImage> DecodeFast(absl::string_view file, const ImageSpec& spec) const override;

 private:
  explicit FileDecoder(const Limits& limits) : limits_(limits) {}

  absl::StatusOr<RgbImage> Run(absl::string_view file, const ImageHeader& header,
                               const PixelRegion& region) const;
  absl::Status RunCodec(absl::string_view file, const ImageHeader& header, const PixelRegion& region,
                        uint8_t* rgb) const;

  const Limits limits_;
};

// The libraries that decode, each with its version: "libjpeg-turbo 2.1.5, zlib 1.2.13, ...".
std::string CodecVersions();

}  // namespace embedd
