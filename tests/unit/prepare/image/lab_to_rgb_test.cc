// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/lab_to_rgb.h"

#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Converted(Bytes pixels, bool is_signed) {
  REQUIRE(LabToRgb(pixels.data(), static_cast<int64_t>(pixels.size() / 3), is_signed).ok());
  return pixels;
}

// What Pillow 13 gives for Image.frombytes("LAB", ...).convert("RGB").
TEST_CASE("LAB becomes what Pillow makes of it") {
  const Bytes lab = {0, 0, 0, 255, 0, 0, 128, 0, 0, 136, 80, 67, 200, 200, 50, 90, 20, 180};
  CHECK(Converted(lab, true) ==
        Bytes{1, 0, 1, 254, 255, 254, 119, 119, 119, 250, 3, 11, 89, 220, 92, 9, 77, 208});
}

TEST_CASE("Colours with 128 added are the same as signed ones") {
  const Bytes lab = {136, 80, 67, 90, 20, 180};
  CHECK(Converted({136, 208, 195, 90, 148, 52}, false) == Converted(lab, true));
}

TEST_CASE("A picture of more pixels than are converted at once comes out the same throughout") {
  Bytes lab;
  constexpr size_t kPixels = (size_t{1} << 20) + 9;
  for (size_t i = 0; i < kPixels; ++i) lab.insert(lab.end(), {136, 80, 67});
  const Bytes rgb = Converted(lab, true);
  const Bytes one = Converted({136, 80, 67}, true);
  for (size_t i = 0; i < rgb.size(); ++i) {
    if (rgb[i] != one[i % 3]) FAIL("byte " << i);
  }
}

}  // namespace
}  // namespace embedd
