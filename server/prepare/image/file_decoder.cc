// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/file_decoder.h"

#include <new>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/avif_decoder.h"
#include "server/prepare/image/bmp_decoder.h"
#include "server/prepare/image/gif_decoder.h"
#include "server/prepare/image/heic_decoder.h"
#include "server/prepare/image/lab_to_rgb.h"
#include "server/prepare/image/png_decoder.h"
#include "server/prepare/image/preprocess.h"
#include "server/prepare/image/row_target.h"
#include "server/prepare/image/tiff_decoder.h"
#include "server/prepare/image/webp_decoder.h"

namespace embedd {
namespace {

absl::Status DecodeByRows(absl::string_view file, const ImageHeader& header, const JpegOptions& options,
                          RowTarget* rows) {
  return header.format == ImageFormat::kJpeg ? DecodeJpeg(file, header, rows, options)
                                             : DecodePng(file, header, rows);
}

absl::Status RunCodec(absl::string_view file, const ImageHeader& header, const JpegOptions& options,
                      int64_t max_pixels, RgbImage* image) {
  uint8_t* const rgb = image->rgb.get();
  switch (header.format) {
    case ImageFormat::kJpeg:
    case ImageFormat::kPng: {
      RowTarget rows(rgb, image->width);
      return DecodeByRows(file, header, options, &rows);
    }
    case ImageFormat::kWebp:
      return DecodeWebp(file, header, rgb);
    case ImageFormat::kGif:
      return DecodeGif(file, rgb);
    case ImageFormat::kBmp:
      return DecodeBmp(file, rgb);
    case ImageFormat::kTiff:
      return DecodeTiff(file, header, rgb);
    case ImageFormat::kAvif:
      return DecodeAvif(file, header, max_pixels, rgb);
    case ImageFormat::kHeic:
      return DecodeHeic(file, header, max_pixels, rgb);
  }
  return absl::InternalError("a format without a decoder");
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileDecoder>> FileDecoder::Create(const Limits& limits) {
  return std::unique_ptr<FileDecoder>(new FileDecoder(limits));
}

absl::StatusOr<RgbImage> FileDecoder::Run(absl::string_view file, const ImageHeader& header,
                                          const JpegOptions& options) const {
  ImageHeader shrunk = header;
  shrunk.width = ShrunkSide(header.width, options.shrink);
  shrunk.height = ShrunkSide(header.height, options.shrink);
  absl::StatusOr<RgbImage> image = AllocateImage(shrunk);
  if (!image.ok()) return image;
  if (absl::Status status = RunCodec(file, header, options, limits_.max_pixels, &*image); !status.ok())
    return status;
  return image;
}

absl::StatusOr<RgbImage> FileDecoder::Decode(absl::string_view file) const {
  const absl::StatusOr<ImageHeader> header = ReadHeaderWithin(file, limits_);
  if (!header.ok()) return header.status();
  try {
    return Run(file, *header, {});
  } catch (const std::bad_alloc&) {
    return NoHostMemory();
  }
}

absl::Status FileDecoder::Prepare(absl::string_view file, const ImageSpec& spec, uint8_t* out) const {
  const absl::StatusOr<ImageHeader> header = ReadHeaderWithin(file, limits_);
  if (!header.ok()) return header.status();
  PictureSize size{.width = static_cast<int>(header->width), .height = static_cast<int>(header->height)};
  JpegOptions options;
  if (header->format == ImageFormat::kJpeg) {
    if (spec.decode == DecodeMode::kFast && !header->lossless)
      options.shrink = size.shrink = ShrinkFor(size.width, size.height, spec);
    options.region = PixelsNeeded(size.width, size.height, spec);
  }
  try {
    if (const auto next = header->by_rows ? RowPreprocessor::Create(size, spec, out) : nullptr) {
      RowTarget rows(next.get(), size.columns());
      return DecodeByRows(file, *header, options, &rows);
    }
    const absl::StatusOr<RgbImage> image = Run(file, *header, options);
    if (!image.ok()) return image.status();
    Preprocess(image->rgb.get(), size, spec, out);
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return NoHostMemory();
  }
}

std::string CodecVersions() {
  return absl::StrCat("libjpeg-turbo ", JpegVersion(), ", libwebp ", WebpVersion(), ", libtiff ",
                      TiffVersion(), ", lcms2 ", LcmsVersion(), ", dav1d ", Dav1dVersion(), ", libde265 ",
                      De265Version());
}

}  // namespace embedd
