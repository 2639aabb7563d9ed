// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/other_formats.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("Well-known formats are named") {
  CHECK_THAT(DescribeOtherFormat("GIF87a"), Contains("a GIF"));
  CHECK_THAT(DescribeOtherFormat("BM123456"), Contains("a BMP"));
  CHECK_THAT(DescribeOtherFormat(absl::string_view("II*\0\10", 5)), Contains("a TIFF"));
  CHECK_THAT(DescribeOtherFormat(absl::string_view("\0\0\0\x1C"
                                                   "ftypavif",
                                                   12)),
             Contains("an AVIF"));
  CHECK_THAT(DescribeOtherFormat(absl::string_view("\0\0\0\x1C"
                                                   "ftypheic",
                                                   12)),
             Contains("a HEIC"));
  CHECK_THAT(DescribeOtherFormat("%PDF-1.7"), Contains("a PDF"));
  CHECK_THAT(DescribeOtherFormat("<svg xmlns="), Contains("an SVG"));
}

TEST_CASE("Base64 text is recognised, with what to do instead") {
  CHECK_THAT(DescribeOtherFormat("/9j/4AAQSkZJRg"), Contains("base64") && Contains("bytes of the file"));
  CHECK_THAT(DescribeOtherFormat("data:image/png;base64,iVBO"), Contains("base64"));
}

TEST_CASE("Anything else says what to send, and never quotes the bytes") {
  CHECK_THAT(DescribeOtherFormat("secret words"), Contains("JPEG, PNG or WebP") && !Contains("secret"));
  CHECK_THAT(DescribeOtherFormat(""), Contains("empty"));
}

}  // namespace
}  // namespace embedd
