// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/pixel_rules.h"

#include <cstring>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Pixels = std::vector<uint8_t>;

Pixels Apply(PixelRule rule, const Pixels& in, int count) {
  Pixels out(3 * count);
  ToRgb(rule, in.data(), count, out.data());
  return out;
}

Pixels Apply16(PixelRule rule, const std::vector<uint16_t>& in, int count) {
  Pixels bytes(2 * in.size());
  std::memcpy(bytes.data(), in.data(), bytes.size());
  return Apply(rule, bytes, count);
}

TEST_CASE("Grey is repeated, alpha is dropped and not blended") {
  CHECK(Apply(PixelRule::kGray8, {7, 200}, 2) == Pixels{7, 7, 7, 200, 200, 200});
  CHECK(Apply(PixelRule::kGrayA8, {7, 0, 200, 9}, 2) == Pixels{7, 7, 7, 200, 200, 200});
  CHECK(Apply(PixelRule::kRgb8, {1, 2, 3, 4, 5, 6}, 2) == Pixels{1, 2, 3, 4, 5, 6});
  CHECK(Apply(PixelRule::kRgba8, {1, 2, 3, 0, 4, 5, 6, 9}, 2) == Pixels{1, 2, 3, 4, 5, 6});
}

TEST_CASE("CMYK is ink on white paper") {
  CHECK(Apply(PixelRule::kCmyk8, {0, 0, 0, 0, 0, 0, 0, 255}, 2) == Pixels{255, 255, 255, 0, 0, 0});
  CHECK(Apply(PixelRule::kCmyk8, {255, 0, 128, 0, 10, 20, 30, 100}, 2) == Pixels{0, 255, 127, 149, 143, 137});
  CHECK(Apply(PixelRule::kPaper8, {0, 255, 127, 255, 245, 235, 225, 155}, 2) ==
        Pixels{0, 255, 127, 149, 143, 137});
}

TEST_CASE("Luma and chroma of a file become Pillow's RGB") {
  CHECK(Apply(PixelRule::kYcc8, {255, 128, 128, 0, 128, 128, 100, 0, 255, 200, 255, 0, 120, 33, 201}, 5) ==
        Pixels{255, 255, 255, 0, 0, 0, 255, 53, 0, 20, 247, 255, 222, 100, 0});
}

TEST_CASE("16-bit grey is clipped, all other 16-bit samples give their high byte") {
  CHECK(Apply16(PixelRule::kGray16, {3, 255, 256, 65535}, 4) ==
        Pixels{3, 3, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255});
  CHECK(Apply16(PixelRule::kGrayA16, {0x1234, 0, 0xFFFF, 0}, 2) == Pixels{0x12, 0x12, 0x12, 255, 255, 255});
  CHECK(Apply16(PixelRule::kRgb16, {0x1234, 0x00FF, 0xFF00}, 1) == Pixels{0x12, 0, 0xFF});
  CHECK(Apply16(PixelRule::kRgba16, {0x1234, 0x00FF, 0xFF00, 0}, 1) == Pixels{0x12, 0, 0xFF});
}

}  // namespace
}  // namespace embedd
