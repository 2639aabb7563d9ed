// SPDX-License-Identifier: Apache-2.0

#include "server/decode/file_decoder.h"

#include <utility>

#include "server/decode/image_header.h"
#include "server/decode/jpeg_decoder.h"
#include "server/decode/webp_decoder.h"

namespace embedd {

absl::StatusOr<std::unique_ptr<FileDecoder>> FileDecoder::Create(const Limits& limits) {
  absl::StatusOr<std::unique_ptr<VipsDecoder>> vips = VipsDecoder::Create(limits);
  if (!vips.ok()) return vips.status();
  return std::unique_ptr<FileDecoder>(new FileDecoder(limits, *std::move(vips)));
}

absl::StatusOr<RgbImage> FileDecoder::Decode(absl::string_view file) const {
  const absl::StatusOr<ImageHeader> header = ReadHeaderWithin(file, limits_);
  if (!header.ok()) return header.status();
  const bool jpeg = JpegDecoderTakes(*header);
  if (!jpeg && !WebpDecoderTakes(file, *header)) return vips_->Decode(file);

  absl::StatusOr<RgbImage> image = AllocateImage(*header);
  if (!image.ok()) return image;
  const absl::Status status =
      jpeg ? DecodeJpeg(file, *header, image->rgb.get()) : DecodeWebp(file, *header, image->rgb.get());
  if (!status.ok()) return status;
  return image;
}

}  // namespace embedd
