// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_format.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Words = std::vector<std::string>;

TEST_CASE("By default everything is read but HEIC") {
  CHECK(FormatSet().Words() == Words{"jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"});
  CHECK(FormatSet().Names() == "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF");
}

TEST_CASE("A list without signs names all, one with signs changes the usual ones") {
  CHECK(FormatSet::Parse("png,jpeg")->Words() == Words{"jpeg", "png"});
  CHECK(FormatSet::Parse("+heic")->Words() ==
        Words{"jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heic"});
  CHECK(FormatSet::Parse("-tiff, -gif,+heic")->Words() ==
        Words{"jpeg", "png", "webp", "bmp", "avif", "heic"});
  CHECK(FormatSet::Parse("JPG")->Names() == "JPEG");
  CHECK(FormatSet::Parse("all")->Has(ImageFormat::kHeic));
}

TEST_CASE("What cannot be meant is refused, and says what can") {
  CHECK_THAT(
      std::string(FormatSet::Parse("jpeg,psd").status().message()),
      ContainsSubstring("\"psd\"") && ContainsSubstring("jpeg, png, webp, gif, bmp, tiff, avif, heic"));
  CHECK_THAT(std::string(FormatSet::Parse("jpeg,+heic").status().message()), ContainsSubstring("mixes"));
  CHECK_FALSE(FormatSet::Parse("").ok());
  CHECK_FALSE(FormatSet::Parse("-jpeg,-png,-webp,-gif,-bmp,-tiff,-avif").ok());
}

}  // namespace
}  // namespace embedd
