// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/file_decoder.h"

#include <utility>

#include "server/prepare/image/geometry.h"
#include "server/prepare/image/image_header.h"
#include "server/prepare/image/jpeg_decoder.h"
#include "server/prepare/image/webp_decoder.h"

namespace embedd {
namespace {

// The largest factor that leaves at least twice the pixels that the resize keeps along each side.
int ShrinkFor(const ImageHeader& header, const ImageSpec& spec) {
  const Geometry g = ComputeGeometry(static_cast<int>(header.width), static_cast<int>(header.height), spec);
  for (const int shrink : {8, 4, 2}) {
    if (header.width >= 2 * shrink * g.resized_width && header.height >= 2 * shrink * g.resized_height) {
      return shrink;
    }
  }
  return 1;
}

}  // namespace

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

absl::StatusOr<RgbImage> FileDecoder::DecodeFast(absl::string_view file, const ImageSpec& spec) const {
  const absl::StatusOr<ImageHeader> header = ReadHeaderWithin(file, limits_);
  if (!header.ok()) return header.status();
  const int shrink = JpegDecoderTakes(*header) ? ShrinkFor(*header, spec) : 1;
  if (shrink == 1) return Decode(file);

  ImageHeader shrunk = *header;
  shrunk.width = ShrunkSide(header->width, shrink);
  shrunk.height = ShrunkSide(header->height, shrink);
  absl::StatusOr<RgbImage> image = AllocateImage(shrunk);
  if (!image.ok()) return image;
  if (absl::Status s = DecodeJpeg(file, *header, image->rgb.get(), shrink); !s.ok()) return s;
  image->shrink = shrink;
  image->full_width = static_cast<int>(header->width);
  image->full_height = static_cast<int>(header->height);
  return image;
}

}  // namespace embedd
