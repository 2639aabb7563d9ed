// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/jpeg_decoder.h"

#include <vector>

#include "tests/support/catch.h"
#include "tests/unit/prepare/image/test_files.h"

namespace embedd {
namespace {

absl::Status Decode(const std::string& file) {
  const absl::StatusOr<ImageHeader> header = ReadImageHeader(file);
  REQUIRE(header.ok());
  std::vector<uint8_t> rgb(3 * header->pixels());
  RowTarget rows(rgb.data(), header->width);
  return DecodeJpeg(file, *header, &rows);
}

// Where the entropy-coded data of the first scan begins.
size_t ScanStart(const std::string& file) {
  const size_t scan = file.find("\xFF\xDA");
  REQUIRE(scan != std::string::npos);
  return scan + 2 + static_cast<unsigned char>(file[scan + 3]);
}

TEST_CASE("Bytes after the end marker and the marker itself hold no pixels: a file is whole without them") {
  const std::string file = test_files::Jpeg();
  CHECK(Decode(file).ok());
  CHECK(Decode(file + "and more").ok());
  CHECK(Decode(file.substr(0, file.size() - 2)).ok());
  const absl::Status status = Decode(file.substr(0, file.size() - 12));
  CHECK(DecodeReason(status) == Reason::kCorruptImage);
  CHECK_THAT(std::string(status.message()), ContainsSubstring("ends before"));
}

TEST_CASE("An end marker in the middle of the data does not hide that pixels are missing") {
  for (const std::string& file :
       {test_files::Jpeg(), test_files::CmykJpeg(), test_files::ProgressiveJpeg()}) {
    const std::string cut = file.substr(0, ScanStart(file) + 10) + "\xFF\xD9";
    CHECK(DecodeReason(Decode(cut)) == Reason::kCorruptImage);
  }
}

TEST_CASE("A progressive file that ends between two scans lacks pixels") {
  const std::string file = test_files::ProgressiveJpeg();
  const size_t second = file.find("\xFF\xC4", ScanStart(file));
  REQUIRE(second != std::string::npos);
  CHECK(DecodeReason(Decode(file.substr(0, second) + "\xFF\xD9")) == Reason::kCorruptImage);
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
  CHECK_THAT(std::string(Decode(repeated + file.substr(end)).message()), ContainsSubstring("scans"));
}

TEST_CASE("A second frame header of another size is no way around the limits") {
  const std::string file = test_files::Jpeg();
  const absl::StatusOr<ImageHeader> header = ReadImageHeader(file);
  ImageHeader smaller = *header;
  smaller.height -= 1;
  std::vector<uint8_t> rgb(3 * smaller.pixels());
  RowTarget rows(rgb.data(), smaller.width);
  CHECK(DecodeReason(DecodeJpeg(file, smaller, &rows)) == Reason::kCorruptImage);
}

}  // namespace
}  // namespace embedd
