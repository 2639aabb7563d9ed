// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/jpeg_decoder.h"

#include <vector>

#include "tests/support/catch.h"
#include "tests/unit/prepare/image/test_files.h"

namespace embedd {
namespace {

using Catch::Matchers::Contains;

absl::Status Decode(const std::string& file) {
  const absl::StatusOr<ImageHeader> header = ReadImageHeader(file);
  REQUIRE(header.ok());
  REQUIRE(JpegDecoderTakes(*header));
  std::vector<uint8_t> rgb(3 * header->pixels());
  return DecodeJpeg(file, *header, rgb.data());
}

// Where the entropy-coded data of the first scan begins.
size_t ScanStart(const std::string& file) {
  const size_t scan = file.find("\xFF\xDA");
  REQUIRE(scan != std::string::npos);
  return scan + 2 + static_cast<unsigned char>(file[scan + 3]);
}

TEST_CASE("It takes 8-bit grey and three-channel JPEG, and leaves CMYK and other formats") {
  CHECK(JpegDecoderTakes(*ReadImageHeader(test_files::Jpeg())));
  CHECK(JpegDecoderTakes(*ReadImageHeader(test_files::ProgressiveJpeg())));
  CHECK_FALSE(JpegDecoderTakes(*ReadImageHeader(test_files::CmykJpeg())));
  CHECK_FALSE(JpegDecoderTakes(*ReadImageHeader(test_files::Png())));
}

TEST_CASE("A file without its end marker is cut short; bytes after the marker do not matter") {
  const std::string file = test_files::Jpeg();
  CHECK(Decode(file).ok());
  CHECK(Decode(file + "and more").ok());
  const absl::Status status = Decode(file.substr(0, file.size() - 2));
  CHECK(DecodeReason(status) == Reason::kCorruptImage);
  CHECK_THAT(std::string(status.message()), Contains("ends before"));
}

TEST_CASE("An end marker in the middle of the data does not hide that pixels are missing") {
  const std::string file = test_files::Jpeg();
  const std::string cut = file.substr(0, ScanStart(file) + 10) + "\xFF\xD9";
  CHECK(DecodeReason(Decode(cut)) == Reason::kCorruptImage);
}

TEST_CASE("A progressive file with more scans than any real one is refused") {
  const std::string file = test_files::ProgressiveJpeg();
  // The first scan once more and once more: valid data, only too much of it. It ends where the next table
  // begins.
  const size_t scan = file.find("\xFF\xDA");
  const size_t end = file.find("\xFF\xC4", scan);
  REQUIRE(end != std::string::npos);
  std::string repeated = file.substr(0, end);
  for (int i = 0; i < 20; ++i) repeated += file.substr(scan, end - scan);
  CHECK(Decode(repeated + file.substr(end)).ok());
  for (int i = 0; i < 200; ++i) repeated += file.substr(scan, end - scan);
  CHECK_THAT(std::string(Decode(repeated + file.substr(end)).message()), Contains("scans"));
}

TEST_CASE("A second frame header of another size is no way around the limits") {
  const std::string file = test_files::Jpeg();
  const absl::StatusOr<ImageHeader> header = ReadImageHeader(file);
  ImageHeader smaller = *header;
  smaller.height -= 1;
  std::vector<uint8_t> rgb(3 * smaller.pixels());
  CHECK(DecodeReason(DecodeJpeg(file, smaller, rgb.data())) == Reason::kCorruptImage);
}

}  // namespace
}  // namespace embedd
