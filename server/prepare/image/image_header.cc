// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_header.h"

#include <new>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/prepare/image/other_formats.h"

namespace embedd {
namespace {

int64_t Byte(absl::string_view s, size_t at) { return static_cast<unsigned char>(s[at]); }
int64_t Big16(absl::string_view s, size_t at) { return Byte(s, at) << 8 | Byte(s, at + 1); }
int64_t Big32(absl::string_view s, size_t at) { return Big16(s, at) << 16 | Big16(s, at + 2); }
int64_t Little16(absl::string_view s, size_t at) { return Byte(s, at) | Byte(s, at + 1) << 8; }
int64_t Little24(absl::string_view s, size_t at) { return Little16(s, at) | Byte(s, at + 2) << 16; }

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
      header.bits = static_cast<int>(Byte(s, at + 2));
      header.height = Big16(s, at + 3);
      header.width = Big16(s, at + 5);
      header.channels = static_cast<int>(Byte(s, at + 7));
      header.lossless = marker == 0xC3 || marker == 0xC7 || marker == 0xCB || marker == 0xCF;
      return header;
    }
    at += length;
  }
}

absl::StatusOr<ImageHeader> ReadPng(absl::string_view s) {
  ImageHeader header;
  header.format = ImageFormat::kPng;
  if (s.size() < 33 || s.substr(12, 4) != "IHDR")
    return Corrupt(ImageFormat::kPng, "no IHDR chunk at the start");
  header.width = Big32(s, 16);
  header.height = Big32(s, 20);
  // PNG allows 2^31 - 1, which also keeps the number of pixels within 64 bits.
  constexpr int64_t kLongestSide = 0x7FFFFFFF;
  if (header.width > kLongestSide || header.height > kLongestSide) {
    return Corrupt(ImageFormat::kPng, "a side longer than PNG allows");
  }
  header.bits = static_cast<int>(Byte(s, 24));
  header.png_color = static_cast<int>(Byte(s, 25));
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

absl::StatusOr<ImageHeader> ReadByFormat(absl::string_view file) {
  if (absl::StartsWith(file, "\xFF\xD8\xFF")) return ReadJpeg(file);
  if (absl::StartsWith(file, "\x89PNG\r\n\x1A\n")) return ReadPng(file);
  if (absl::StartsWith(file, "RIFF") && file.size() >= 12 && file.substr(8, 4) == "WEBP")
    return ReadWebp(file);
  return DecodeError(Reason::kUnsupportedFormat, DescribeOtherFormat(file));
}

}  // namespace

absl::string_view ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return "JPEG";
    case ImageFormat::kPng:
      return "PNG";
    case ImageFormat::kWebp:
      return "WebP";
  }
  return "";
}

absl::StatusOr<ImageHeader> ReadImageHeader(absl::string_view file) {
  absl::StatusOr<ImageHeader> header = ReadByFormat(file);
  if (header.ok() && (header->width < 1 || header->height < 1)) {
    return Corrupt(header->format, "the header says the image has no pixels");
  }
  return header;
}

absl::StatusOr<ImageHeader> ReadHeaderWithin(absl::string_view file, const ImageDecoder::Limits& limits) {
  if (absl::Status status = CheckBytes(file, limits); !status.ok()) return status;
  absl::StatusOr<ImageHeader> header = ReadImageHeader(file);
  if (!header.ok()) return header;
  if (absl::Status status = CheckPixels(*header, limits); !status.ok()) return status;
  return header;
}

absl::StatusOr<RgbImage> AllocateImage(const ImageHeader& header) {
  RgbImage image;
  image.width = static_cast<int>(header.width);
  image.height = static_cast<int>(header.height);
  image.rgb.reset(new (std::nothrow) uint8_t[3 * header.pixels()]);
  if (image.rgb == nullptr) return absl::ResourceExhaustedError("no memory for the pixels of the image");
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
