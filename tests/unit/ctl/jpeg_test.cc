// SPDX-License-Identifier: Apache-2.0
//
// No decoder here: that the files decode shows when `embedctl bench --input jpeg` reports no failed inputs.

#include "client/cpp/ctl/jpeg.h"

#include "client/cpp/ctl/synthetic.h"
#include "tests/support/catch.h"

namespace embedd::ctl {
namespace {

TEST_CASE("A picture becomes a JPEG file of a photograph's size, whatever its sides") {
  for (const uint32_t width : {1U, 15U, 16U, 17U, 224U}) {
    const auto rgb = SyntheticPixels(width, 33, 1);
    REQUIRE(rgb.size() == size_t{3} * width * 33);
    const auto jpeg = EncodeJpeg(rgb, width, 33, 90);
    CHECK(jpeg.substr(0, 2) == "\xff\xd8");
    CHECK(jpeg.substr(jpeg.size() - 2) == "\xff\xd9");
    if (width == 224) CHECK(jpeg.size() < rgb.size() / 4);
  }
}

TEST_CASE("Lower quality is smaller, and every seed is another picture") {
  const auto rgb = SyntheticPixels(64, 64, 1);
  CHECK(EncodeJpeg(rgb, 64, 64, 50).size() < EncodeJpeg(rgb, 64, 64, 95).size());
  CHECK(rgb == SyntheticPixels(64, 64, 1));
  CHECK(rgb != SyntheticPixels(64, 64, 2));
}

}  // namespace
}  // namespace embedd::ctl
