// SPDX-License-Identifier: Apache-2.0
//
// FileDecoder: the ImageDecoder of the server. Sends ordinary JPEG and still WebP straight to their libraries
// and everything else to libvips; the pixels are the same either way, and the tests compare them.

#pragma once

#include <memory>

#include "server/prepare/image/image_decoder.h"
#include "server/prepare/image/vips_decoder.h"

namespace embedd {

class FileDecoder : public ImageDecoder {
 public:
  // Errors: see VipsDecoder::Create.
  static absl::StatusOr<std::unique_ptr<FileDecoder>> Create(const Limits& limits);

  absl::StatusOr<RgbImage> Decode(absl::string_view file) const override;
  // Shrinks ordinary JPEG while it is decoded, by 2, 4 or 8.
  absl::StatusOr<RgbImage> DecodeFast(absl::string_view file, const ImageSpec& spec) const override;

 private:
  FileDecoder(const Limits& limits, std::unique_ptr<VipsDecoder> vips)
      : limits_(limits), vips_(std::move(vips)) {}

  const Limits limits_;
  const std::unique_ptr<VipsDecoder> vips_;
};

}  // namespace embedd
