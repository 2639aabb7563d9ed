// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_header.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/bmp_decoder.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/gif_decoder.h"
#include "server/prepare/image/heif_container.h"
#include "server/prepare/image/other_formats.h"
#include "server/prepare/image/tiff_size.h"

namespace embedd {
namespace {

absl::Status Corrupt(ImageFormat format, absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat(ImageFormatName(format), ": ", what));
}

// SOF0 to SOF15, without the three markers of that range that start no frame (DHT, JPG, DAC).
bool StartsFrame(int64_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

bool HasNoLength(int64_t marker) { return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8); }

absl::StatusOr<ImageHeader> ReadJpeg(absl::string_view s) {
  ImageHeader header;
  header.format = ImageFormat::kJpeg;
  header.by_rows = true;
  size_t at = 2;
  while (true) {
    // Bytes between segments are skipped, as libjpeg does: up to the next 0xFF, then over any fill bytes.
    while (at < s.size() && Byte(s, at) != 0xFF) ++at;
    while (at < s.size() && Byte(s, at) == 0xFF) ++at;
    if (at + 3 > s.size()) return Corrupt(ImageFormat::kJpeg, "the file ends inside its header");
    const int64_t marker = Byte(s, at);
    ++at;
    if (marker == 0 || HasNoLength(marker)) continue;
    if (marker == 0xD9 || marker == 0xDA)
      return Corrupt(ImageFormat::kJpeg, "image data without a frame header");
    const int64_t length = Big16(s, at);
    if (length < 2) return Corrupt(ImageFormat::kJpeg, "a segment with an impossible length");
    if (StartsFrame(marker)) {
      if (length < 8 || at + 8 > s.size())
        return Corrupt(ImageFormat::kJpeg, "the frame header is cut short");
      header.height = Big16(s, at + 3);
      header.width = Big16(s, at + 5);
      header.channels = static_cast<int>(Byte(s, at + 7));
      header.arithmetic = marker >= 0xC9;
      constexpr int64_t kLosslessFrame = 0xC3;
      header.lossless = marker == kLosslessFrame;
      return header;
    }
    at += length;
  }
}

absl::StatusOr<ImageHeader> ReadPng(absl::string_view s) {
  ImageHeader header;
  header.format = ImageFormat::kPng;
  // It should come first. Other chunks before it do no harm.
  constexpr size_t kSignature = 8, kHeaderChunk = 25, kAround = 12;
  size_t at = kSignature;
  while (s.size() >= at + kHeaderChunk && s.substr(at + 4, 4) != "IHDR")
    at += static_cast<size_t>(std::min<uint64_t>(kAround + uint64_t{Big32(s, at)}, s.size()));
  if (s.size() < at + kHeaderChunk) return Corrupt(ImageFormat::kPng, "no IHDR chunk");
  header.width = Big32(s, at + 8);
  header.height = Big32(s, at + 12);
  header.by_rows = Byte(s, at + 20) == 0;
  return header;
}

absl::StatusOr<ImageHeader> ReadWebp(absl::string_view s) {
  ImageHeader header;
  header.format = ImageFormat::kWebp;
  if (s.size() < 30) return Corrupt(ImageFormat::kWebp, "the file ends inside its header");
  const absl::string_view chunk = s.substr(12, 4);
  if (chunk == "VP8X") {
    header.width = Little24(s, 24) + 1;
    header.height = Little24(s, 27) + 1;
  } else if (chunk == "VP8L") {
    const int64_t bits = Little16(s, 21) | Little16(s, 23) << 16;
    header.width = (bits & 0x3FFF) + 1;
    header.height = (bits >> 14 & 0x3FFF) + 1;
  } else if (chunk == "VP8 ") {
    header.width = Little16(s, 26) & 0x3FFF;
    header.height = Little16(s, 28) & 0x3FFF;
  } else {
    return Corrupt(ImageFormat::kWebp, "no VP8, VP8L or VP8X chunk at the start");
  }
  return header;
}

absl::StatusOr<ImageHeader> ReadGif(absl::string_view s) {
  const absl::StatusOr<GifFrame> frame = FindGifFrame(s);
  if (!frame.ok()) return frame.status();
  return ImageHeader{
      .format = ImageFormat::kGif, .width = frame->canvas_width, .height = frame->canvas_height};
}

absl::StatusOr<ImageHeader> ReadBmp(absl::string_view s) {
  const absl::StatusOr<BmpHeader> header = ReadBmpHeader(s);
  if (!header.ok()) return header.status();
  return ImageHeader{.format = ImageFormat::kBmp, .width = header->width, .height = header->height};
}

absl::StatusOr<ImageHeader> ReadTiff(absl::string_view s) {
  const absl::StatusOr<TiffSize> size = ReadTiffSize(s);
  if (!size.ok()) return size.status();
  ImageHeader header{.format = ImageFormat::kTiff, .width = size->width, .height = size->height};
  header.orientation = size->orientation;
  if (header.orientation >= 5) std::swap(header.width, header.height);
  return header;
}

absl::StatusOr<ImageHeader> ReadHeif(absl::string_view s, ImageFormat format) {
  const absl::StatusOr<HeifFile> heif = HeifFile::Parse(s, format);
  if (!heif.ok()) return heif.status();
  return ImageHeader{.format = format, .width = heif->width(), .height = heif->height()};
}

absl::StatusOr<ImageHeader> ReadAs(ImageFormat format, absl::string_view file) {
  switch (format) {
    case ImageFormat::kJpeg:
      return ReadJpeg(file);
    case ImageFormat::kPng:
      return ReadPng(file);
    case ImageFormat::kWebp:
      return ReadWebp(file);
    case ImageFormat::kGif:
      return ReadGif(file);
    case ImageFormat::kBmp:
      return ReadBmp(file);
    case ImageFormat::kTiff:
      return ReadTiff(file);
    case ImageFormat::kAvif:
    case ImageFormat::kHeic:
      return ReadHeif(file, format);
  }
  return absl::InternalError("a format without a reader of its header");
}

}  // namespace

absl::StatusOr<ImageHeader> ReadImageHeader(absl::string_view file, const FormatSet& formats) {
  for (const FormatRow& row : AllFormats()) {
    if (!formats.Has(row.format) || !row.recognises(file)) continue;
    absl::StatusOr<ImageHeader> header = ReadAs(row.format, file);
    if (header.ok() && (header->width < 1 || header->height < 1)) {
      return Corrupt(row.format, "the header says the image has no pixels");
    }
    // Which also keeps the number of pixels within 64 bits.
    constexpr int64_t kLongestSide = 0x7FFFFFFF;
    if (header.ok() && (header->width > kLongestSide || header->height > kLongestSide)) {
      return Corrupt(row.format, "a side longer than any picture's");
    }
    return header;
  }
  return DecodeError(Reason::kUnsupportedFormat, DescribeOtherFormat(file, formats));
}

absl::StatusOr<ImageHeader> ReadHeaderWithin(absl::string_view file, const ImageDecoder::Limits& limits) {
  if (absl::Status status = CheckBytes(file, limits); !status.ok()) return status;
  absl::StatusOr<ImageHeader> header = ReadImageHeader(file, limits.formats);
  if (!header.ok()) return header;
  if (absl::Status status = CheckPixels(*header, limits); !status.ok()) return status;
  return header;
}

absl::StatusOr<RgbImage> AllocateImage(const ImageHeader& header) {
  RgbImage image;
  image.width = static_cast<int>(header.width);
  image.height = static_cast<int>(header.height);
  image.rgb.reset(new (std::nothrow) uint8_t[3 * header.pixels()]);
  if (image.rgb == nullptr) return NoHostMemory();
  return image;
}

absl::Status CheckBytes(absl::string_view file, const ImageDecoder::Limits& limits) {
  if (static_cast<int64_t>(file.size()) <= limits.max_image_bytes) return absl::OkStatus();
  return DecodeError(Reason::kImageTooLarge,
                     absl::StrCat("the image file has ", file.size(), " bytes; this server takes up to ",
                                  limits.max_image_bytes, " (--max-image-bytes)"));
}

absl::Status CheckPixels(const ImageHeader& header, const ImageDecoder::Limits& limits) {
  if (header.pixels() <= limits.max_pixels) return absl::OkStatus();
  return DecodeError(Reason::kImageTooLarge,
                     absl::StrCat("the image is ", header.width, "x", header.height, " = ", header.pixels(),
                                  " pixels; this server takes up to ", limits.max_pixels, " (--max-pixels)"));
}

}  // namespace embedd
