// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/other_formats.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

template <size_t kSize>
absl::string_view Bytes(const char (&text)[kSize]) {
  return absl::string_view(text, kSize - 1);
}

TEST_CASE("Well-known formats are named") {
  CHECK_THAT(DescribeOtherFormat("%PDF-1.7"), ContainsSubstring("a PDF"));
  CHECK_THAT(DescribeOtherFormat(Bytes("\0\0\0\x0CJXL \r\n\x87\n")), ContainsSubstring("a JPEG XL"));
  CHECK_THAT(DescribeOtherFormat("<svg xmlns="), ContainsSubstring("an SVG"));
  CHECK_THAT(DescribeOtherFormat(Bytes("\0\0\0\x18"
                                       "ftypmp42\0\0\0\0mp42isom")),
             ContainsSubstring("an MP4"));
}

TEST_CASE("A format that this server was told not to read says so, and how it would") {
  CHECK_THAT(DescribeOtherFormat("GIF89a", *FormatSet::Parse("-gif")),
             ContainsSubstring("a GIF") && ContainsSubstring("leave out gif") && ContainsSubstring("AVIF"));
  for (const char* brand : {"heic", "mif1", "msf1", "mif2", "hevc"}) {
    CAPTURE(brand);
    const std::string file = std::string(
                                 "\0\0\0\x18"
                                 "ftyp",
                                 8) +
                             brand + std::string(4, '\0') + brand + "miaf";
    CHECK_THAT(DescribeOtherFormat(file),
               ContainsSubstring("HEIC or HEIF") && ContainsSubstring("--formats +heic"));
  }
  CHECK_THAT(DescribeOtherFormat(Bytes("\0\0\0\x1C"
                                       "ftypmif1\0\0\0\0mif1avifmiaf"),
                                 *FormatSet::Parse("jpeg,png")),
             ContainsSubstring("an AVIF") && ContainsSubstring("send JPEG or PNG"));
}

TEST_CASE("A saved web page is named, however it begins") {
  for (const absl::string_view page :
       {Bytes("<!doctype html><html>"), Bytes("<HTML><BODY>"), Bytes("\xEF\xBB\xBF \r\n<!DOCTYPE HTML>"),
        Bytes("   <html lang=en>"), Bytes("\xFF\xFE<\0h\0t\0m\0l\0>\0"), Bytes("<head><title>404")}) {
    CHECK_THAT(DescribeOtherFormat(page), ContainsSubstring("an HTML"));
  }
}

TEST_CASE("Base64 text is recognised, with what to do instead") {
  CHECK_THAT(DescribeOtherFormat("/9j/4AAQSkZJRg"),
             ContainsSubstring("base64") && ContainsSubstring("bytes of the file"));
  CHECK_THAT(DescribeOtherFormat("data:image/png;base64,iVBO"), ContainsSubstring("base64"));
  CHECK_THAT(DescribeOtherFormat("\n iVBORw0KGgoAAAANS"), ContainsSubstring("base64"));
  CHECK_THAT(DescribeOtherFormat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJz"),
             ContainsSubstring("base64"));
}

TEST_CASE("Anything else says what to send, and never quotes the bytes") {
  CHECK_THAT(DescribeOtherFormat("secret words"),
             ContainsSubstring("TIFF or AVIF") && !ContainsSubstring("secret"));
  CHECK_THAT(DescribeOtherFormat(""), ContainsSubstring("empty"));
}

}  // namespace
}  // namespace embedd
