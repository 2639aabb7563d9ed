// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_header.h"

#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

std::string Bytes(std::initializer_list<int> bytes) {
  std::string s;
  for (int b : bytes) s.push_back(static_cast<char>(b));
  return s;
}

std::string Png(uint32_t width, uint32_t height) {
  std::string s = "\x89PNG\r\n\x1A\n" + Bytes({0, 0, 0, 13}) + "IHDR";
  for (uint32_t v : {width, height}) {
    for (int shift = 24; shift >= 0; shift -= 8) s.push_back(static_cast<char>(v >> shift));
  }
  return s + Bytes({8, 2, 0, 0, 0, 1, 2, 3, 4});
}

std::string Webp(const std::string& chunk, const std::string& body) {
  return "RIFF" + Bytes({64, 0, 0, 0}) + "WEBP" + chunk + Bytes({40, 0, 0, 0}) + body + std::string(20, '\0');
}

void CheckSize(const std::string& file, ImageFormat format, int64_t width, int64_t height) {
  const absl::StatusOr<ImageHeader> header = ReadImageHeader(file);
  REQUIRE(header.ok());
  CHECK(header->format == format);
  CHECK(header->width == width);
  CHECK(header->height == height);
  CHECK(header->pixels() == width * height);
}

const std::string kSof = Bytes({0xFF, 0xC0, 0, 17, 8, 1, 2, 3, 4, 3});

TEST_CASE("The size of a JPEG is in its first frame header") {
  CheckSize(Bytes({0xFF, 0xD8}) + kSof, ImageFormat::kJpeg, 0x304, 0x102);
  const std::string app = Bytes({0xFF, 0xE1, 0, 6}) + std::string("\xFF\xC0\x00\x00", 4);
  CheckSize(Bytes({0xFF, 0xD8}) + app + Bytes({0xFF, 0xFF, 0xFF}) + kSof, ImageFormat::kJpeg, 0x304, 0x102);
  const std::string progressive = Bytes({0xFF, 0xC2, 0, 17, 8, 1, 2, 3, 4, 3});
  CheckSize(Bytes({0xFF, 0xD8, 0xFF, 0xDB, 0, 2}) + progressive, ImageFormat::kJpeg, 0x304, 0x102);
}

TEST_CASE("The size of a PNG is in IHDR") { CheckSize(Png(640, 480), ImageFormat::kPng, 640, 480); }

TEST_CASE("The size of a WebP is in each of its three kinds of first chunk") {
  CheckSize(Webp("VP8X", Bytes({0, 0, 0, 0, 0xFF, 0x3F, 0, 9, 0, 0})), ImageFormat::kWebp, 16384, 10);
  CheckSize(Webp("VP8L", Bytes({0x2F, 0x3F, 0xC0, 0x04, 0})), ImageFormat::kWebp, 64, 20);
  CheckSize(Webp("VP8 ", Bytes({0, 0, 0, 0x9D, 1, 0x2A, 64, 0, 48, 0})), ImageFormat::kWebp, 64, 48);
}

TEST_CASE("A header that ends early or means nothing is a corrupt image, at every length") {
  for (const std::string& file :
       {Bytes({0xFF, 0xD8}) + kSof, Png(640, 480), Webp("VP8X", std::string(10, '\0')).substr(0, 30)}) {
    for (size_t length = 12; length < file.size(); ++length) {
      if (file[1] == '\xD8' && length >= 12) continue;
      CHECK(DecodeReason(ReadImageHeader(file.substr(0, length)).status()) == Reason::kCorruptImage);
    }
  }
  const std::string jpeg = Bytes({0xFF, 0xD8}) + kSof;
  for (size_t length = 3; length < 12; ++length) {
    CHECK(DecodeReason(ReadImageHeader(jpeg.substr(0, length)).status()) == Reason::kCorruptImage);
  }
  CHECK(DecodeReason(ReadImageHeader(Png(0, 5)).status()) == Reason::kCorruptImage);
  CHECK(DecodeReason(ReadImageHeader(Png(4294901784, 2173651322)).status()) == Reason::kCorruptImage);
  CHECK(DecodeReason(ReadImageHeader(Bytes({0xFF, 0xD8, 0xFF, 0xDA, 0, 4, 0, 0})).status()) ==
        Reason::kCorruptImage);
  CHECK(DecodeReason(ReadImageHeader(Bytes({0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0, 0})).status()) ==
        Reason::kCorruptImage);
  CHECK(DecodeReason(ReadImageHeader(Bytes({0xFF, 0xD8, 0xFF, 0xE0, 0xFF, 0xFF, 0, 0})).status()) ==
        Reason::kCorruptImage);
  CHECK(DecodeReason(ReadImageHeader(Webp("XXXX", "")).status()) == Reason::kCorruptImage);
}

TEST_CASE("Bytes of another kind are an unsupported format") {
  const absl::Status status = ReadImageHeader("GIF89a........", *FormatSet::Parse("jpeg,png")).status();
  CHECK(DecodeReason(status) == Reason::kUnsupportedFormat);
  CHECK_THAT(std::string(status.message()), ContainsSubstring("GIF") && ContainsSubstring("JPEG or PNG"));
  CHECK(DecodeReason(ReadImageHeader("GIF89a........").status()) == Reason::kCorruptImage);
  CHECK(DecodeReason(ReadImageHeader("").status()) == Reason::kUnsupportedFormat);
  CHECK(DecodeReason(ReadImageHeader("RIFF....WAVEfmt ").status()) == Reason::kUnsupportedFormat);
}

TEST_CASE("Limits hold up to and including their value, and the message has both numbers") {
  ImageDecoder::Limits limits;
  limits.max_image_bytes = 10;
  limits.max_pixels = 100;
  CHECK(CheckBytes("0123456789", limits).ok());
  const absl::Status bytes = CheckBytes("0123456789A", limits);
  CHECK(DecodeReason(bytes) == Reason::kImageTooLarge);
  CHECK_THAT(std::string(bytes.message()), ContainsSubstring("11 bytes") && ContainsSubstring("10"));
  CHECK(CheckPixels(*ReadImageHeader(Png(10, 10)), limits).ok());
  const absl::Status pixels = CheckPixels(*ReadImageHeader(Png(2147483647, 2147483647)), limits);
  CHECK(DecodeReason(pixels) == Reason::kImageTooLarge);
  CHECK_THAT(std::string(pixels.message()),
             ContainsSubstring("4611686014132420609") && ContainsSubstring("100"));
}

}  // namespace
}  // namespace embedd
