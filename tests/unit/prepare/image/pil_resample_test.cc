// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/pil_resample.h"

#include <array>
#include <random>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Grid = std::vector<std::vector<int>>;

// `width` x `height`, first value in the top left and bottom right quarter, second in the others.
std::vector<uint8_t> Quarters(int width, int height, int first, int second) {
  std::vector<uint8_t> rgb;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x)
      rgb.insert(rgb.end(), 3, (x < width / 2) == (y < height / 2) ? first : second);
  }
  return rgb;
}

PilTarget Whole(int width, int height, Interpolation interpolation) {
  PilTarget target;
  target.width = target.window_width = width;
  target.height = target.window_height = height;
  target.interpolation = interpolation;
  return target;
}

std::vector<uint8_t> Resample(const std::vector<uint8_t>& rgb, int width, int height, const PilTarget& target,
                              const PilKernels& kernels = BestPilKernels()) {
  const size_t plane = size_t{1} * target.window_width * target.window_height;
  std::vector<uint8_t> out(3 * plane);
  PilResample(rgb.data(), width, height, target,
              {out.data(), out.data() + plane, out.data() + 2 * plane, target.window_width}, kernels);
  return out;
}

// The top left quarter as Pillow's own tests have it; the others mirror it, with 255 - v beside it.
void CheckQuarter(int in, int out, Interpolation interpolation, int first, int second, const Grid& want) {
  const std::vector<uint8_t> got =
      Resample(Quarters(in, in, first, second), in, in, Whole(out, out, interpolation));
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < out / 2; ++y) {
      for (int x = 0; x < out / 2; ++x) {
        CAPTURE(c, x, y);
        const auto at = [&](int row, int column) { return int{got[(c * out + row) * out + column]}; };
        CHECK(at(y, x) == want[y][x]);
        CHECK(at(out - 1 - y, out - 1 - x) == want[y][x]);
        CHECK(at(y, out - 1 - x) == 255 - want[y][x]);
        CHECK(at(out - 1 - y, x) == 255 - want[y][x]);
      }
    }
  }
}

TEST_CASE("Resizing gives the values of Pillow's own tests") {
  constexpr int kLight = 0xE1, kDark = 0x1E;
  CheckQuarter(12, 6, Interpolation::kBicubic, kLight, kDark,
               {{0xE1, 0xE3, 0xD4}, {0xE3, 0xE5, 0xD6}, {0xD4, 0xD6, 0xC9}});
  CheckQuarter(4, 8, Interpolation::kBicubic, kLight, kDark,
               {{0xE1, 0xE5, 0xEE, 0xB9},
                {0xE5, 0xE9, 0xF3, 0xBC},
                {0xEE, 0xF3, 0xFD, 0xC1},
                {0xB9, 0xBC, 0xC1, 0xA2}});
  CheckQuarter(8, 4, Interpolation::kBilinear, kLight, kDark, {{0xE1, 0xC9}, {0xC9, 0xB7}});
  CheckQuarter(2, 4, Interpolation::kBilinear, kLight, kDark, {{0xE1, 0xB0}, {0xB0, 0x98}});
}

TEST_CASE("The vertical pass comes first when the height shrinks by more than twice what the width does") {
  CHECK(VerticalFirst(7, 30, 5, 25));
  CHECK_FALSE(VerticalFirst(7, 30, 5, 26));
  CHECK(VerticalFirst(20, 100, 40, 99));
  CHECK_FALSE(VerticalFirst(20, 100, 40, 100));
  CHECK_FALSE(VerticalFirst(20, 100, 40, 120));
  CHECK_FALSE(VerticalFirst(500, 375, 298, 224));
  CHECK(VerticalFirst(300, 900, 224, 672));
}

std::vector<uint8_t> Noise(int width, int height) {
  std::mt19937 random(width * 7 + height);
  std::vector<uint8_t> rgb(size_t{3} * width * height);
  for (uint8_t& b : rgb) b = random() >> 24;
  return rgb;
}

TEST_CASE("A window has the bytes of the same place in the whole") {
  for (const auto& [width, height, to_width, to_height] :
       {std::array{91, 60, 70, 46}, {60, 300, 46, 230}, {40, 30, 400, 301}, {300, 8, 90, 60}}) {
    CAPTURE(width, height);
    const std::vector<uint8_t> rgb = Noise(width, height);
    PilTarget target = Whole(to_width, to_height, Interpolation::kBicubic);
    const std::vector<uint8_t> whole = Resample(rgb, width, height, target);
    target.x = 11;
    target.y = 7;
    target.window_width = 25;
    target.window_height = 23;
    const std::vector<uint8_t> window = Resample(rgb, width, height, target);
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < 23; ++y) {
        for (int x = 0; x < 25; ++x) {
          REQUIRE(window[(c * 23 + y) * 25 + x] == whole[(c * to_height + 7 + y) * to_width + 11 + x]);
        }
      }
    }
  }
}

TEST_CASE("The same size gives the same pixels") {
  const std::vector<uint8_t> rgb = Noise(19, 23);
  const std::vector<uint8_t> out = Resample(rgb, 19, 23, Whole(19, 23, Interpolation::kBicubic));
  for (int i = 0; i < 19 * 23; ++i) {
    for (int c = 0; c < 3; ++c) REQUIRE(out[c * 19 * 23 + i] == rgb[3 * i + c]);
  }
}

TEST_CASE("The fast kernels and the portable ones give equal bytes for whole images, tiled or not") {
  // The last two have so many taps that the window is made in tiles.
  for (const auto& [width, height, to_width, to_height] : {std::array{500, 375, 298, 224},
                                                           {33, 400, 29, 224},
                                                           {1, 1, 8, 8},
                                                           {400000, 2, 16, 9},
                                                           {2, 400000, 9, 16}}) {
    CAPTURE(width, height);
    const std::vector<uint8_t> rgb = Noise(width, height);
    const PilTarget target = Whole(to_width, to_height, Interpolation::kBicubic);
    CHECK(Resample(rgb, width, height, target) == Resample(rgb, width, height, target, PortablePilKernels()));
  }
}

}  // namespace
}  // namespace embedd
