// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/file_decoder.h"

#include <new>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/avif_decoder.h"
#include "server/prepare/image/bmp_decoder.h"
#include "server/prepare/image/geometry.h"
#include "server/prepare/image/gif_decoder.h"
#include "server/prepare/image/heic_decoder.h"
#include "server/prepare/image/jpeg_decoder.h"
#include "server/prepare/image/png_decoder.h"
#include "server/prepare/image/tiff_decoder.h"
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
  return std::unique_ptr<FileDecoder>(new FileDecoder(limits));
}

absl::Status FileDecoder::RunCodec(absl::string_view file, const ImageHeader& header,
                                   const PixelRegion& region, uint8_t* rgb) const {
  switch (header.format) {
    case ImageFormat::kJpeg:
      return DecodeJpeg(file, header, rgb, {.region = region});
    case ImageFormat::kPng:
      return DecodePng(file, header, rgb);
    case ImageFormat::kWebp:
      return DecodeWebp(file, header, rgb);
    case ImageFormat::kGif:
      return DecodeGif(file, rgb);
    case ImageFormat::kBmp:
      return DecodeBmp(file, rgb);
    case ImageFormat::kTiff:
      return DecodeTiff(file, header, rgb);
    case ImageFormat::kAvif:
      return DecodeAvif(file, header, limits_.max_pixels, rgb);
    case ImageFormat::kHeic:
      return DecodeHeic(file, header, limits_.max_pixels, rgb);
  }
  return absl::InternalError("a format without a decoder");
}

absl::StatusOr<RgbImage> FileDecoder::Run(absl::string_view file, const ImageHeader& header,
                                          const PixelRegion& region) const {
  try {
    absl::StatusOr<RgbImage> image = AllocateImage(header);
    if (!image.ok()) return image;
    if (absl::Status status = RunCodec(file, header, region, image->rgb.get()); !status.ok()) return status;
    return image;
  } catch (const std::bad_alloc&) {
    return NoHostMemory();
  }
}

absl::StatusOr<RgbImage> FileDecoder::Decode(absl::string_view file) const {
  const absl::StatusOr<ImageHeader> header = ReadHeaderWithin(file, limits_);
  if (!header.ok()) return header.status();
  return Run(file, *header, {});
}

absl::StatusOr<RgbImage> FileDecoder::DecodePart(absl::string_view file, const ImageSpec& spec) const {
  const absl::StatusOr<ImageHeader> header = ReadHeaderWithin(file, limits_);
  if (!header.ok()) return header.status();
  if (header->format != ImageFormat::kJpeg) return Run(file, *header, {});
  return Run(file, *header,
             PixelsNeeded(static_cast<int>(header->width), static_cast<int>(header->height), spec));
}

absl::StatusOr<RgbImage> FileDecoder::DecodeFast(absl::string_view file, const ImageSpec& spec) const {
  const absl::StatusOr<ImageHeader> header = ReadHeaderWithin(file, limits_);
  if (!header.ok()) return header.status();
  const int shrink = header->format == ImageFormat::kJpeg ? ShrinkFor(*header, spec) : 1;
  if (shrink == 1) return DecodePart(file, spec);

  ImageHeader shrunk = *header;
  shrunk.width = ShrunkSide(header->width, shrink);
  shrunk.height = ShrunkSide(header->height, shrink);
  absl::StatusOr<RgbImage> image = AllocateImage(shrunk);
  if (!image.ok()) return image;
  if (absl::Status s = DecodeJpeg(file, *header, image->rgb.get(), {.shrink = shrink}); !s.ok()) return s;
  image->shrink = shrink;
  image->full_width = static_cast<int>(header->width);
  image->full_height = static_cast<int>(header->height);
  return image;
}

std::string CodecVersions() {
  return absl::StrCat("libjpeg-turbo ", JpegVersion(), ", libwebp ", WebpVersion(), ", libtiff ",
                      TiffVersion(), ", dav1d ", Dav1dVersion(), ", libde265 ", De265Version());
}

}  // namespace embedd
