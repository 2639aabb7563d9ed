// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/preprocess.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

ImageSpec Spec(int width, int height, ResizeMode mode) {
  ImageSpec spec;
  spec.width = width;
  spec.height = height;
  spec.resize_mode = mode;
  return spec;
}

std::vector<uint8_t> Run(const std::vector<uint8_t>& rgb, int width, int height, const ImageSpec& spec) {
  std::vector<uint8_t> out(size_t{3} * spec.width * spec.height, 0xAA);
  Preprocess(rgb.data(), width, height, spec, out.data());
  return out;
}

// Red counts columns, green rows, blue is 9.
std::vector<uint8_t> Ramp(int width, int height) {
  std::vector<uint8_t> rgb;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int v : {x, y, 9}) rgb.push_back(static_cast<uint8_t>(v));
    }
  }
  return rgb;
}

TEST_CASE("An image of the right size comes out as it is, in planes") {
  const std::vector<uint8_t> out = Run(Ramp(8, 8), 8, 8, Spec(8, 8, ResizeMode::kShortest));
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 8; ++x) {
      CHECK(out[8 * y + x] == x);
      CHECK(out[64 + 8 * y + x] == y);
      CHECK(out[128 + 8 * y + x] == 9);
    }
  }
}

TEST_CASE("An image with the right short side is only cropped") {
  const std::vector<uint8_t> out = Run(Ramp(13, 8), 13, 8, Spec(8, 8, ResizeMode::kShortest));
  CHECK(out[0] == 2);  // 2.5 rounds to even
  CHECK(out[7] == 9);
}

TEST_CASE("The longest mode pads with the fill colour, every byte of it") {
  ImageSpec spec = Spec(8, 8, ResizeMode::kLongest);
  spec.fill = 77;
  const std::vector<uint8_t> out = Run(std::vector<uint8_t>(3 * 8 * 3, 200), 8, 3, spec);
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < 8; ++y) {
      for (int x = 0; x < 8; ++x) CHECK(out[64 * c + 8 * y + x] == (y >= 2 && y < 5 ? 200 : 77));
    }
  }
}

TEST_CASE("Rows that come a few at a time give the bytes of the whole picture") {
  std::vector<ImageSpec> specs;
  for (const ResizeMode mode : {ResizeMode::kShortest, ResizeMode::kLongest, ResizeMode::kSquash}) {
    for (const int side : {5, 24, 64}) specs.push_back(Spec(side, side, mode));
  }
  specs.push_back(Spec(8, 12, ResizeMode::kShortest));
  int by_rows = 0;
  for (const auto& [width, height] :
       {std::pair{64, 48}, {48, 64}, {64, 64}, {24, 24}, {200, 3}, {3, 5}, {1, 1}}) {
    const std::vector<uint8_t> rgb = Ramp(width, height);
    for (const ImageSpec& spec : specs) {
      for (const int at_once : {1, 3, 8, 1000}) {
        CAPTURE(width, height, spec.width, at_once);
        std::vector<uint8_t> out(size_t{3} * spec.width * spec.height, 0xBB);
        const auto rows = RowPreprocessor::Create({.width = width, .height = height}, spec, out.data());
        if (rows == nullptr) continue;
        ++by_rows;
        const PixelRegion region = PixelsNeeded(width, height, spec);
        const int end = region.y + region.height;
        for (int y = region.y; y < end; y += at_once) {
          const int count = std::min(at_once, end - y);
          // What is behind the last row may be anything.
          std::vector<uint8_t> some(size_t{3} * width * count + RowPreprocessor::kReadSlack, 0xCC);
          std::copy_n(rgb.begin() + 3 * y * width, 3 * width * count, some.begin());
          rows->Add(some.data(), y, count);
        }
        CHECK(out == Run(rgb, width, height, spec));
      }
    }
  }
  CHECK(by_rows >= 200);
}

TEST_CASE("A shape of which the columns come first, and a resize in floats, need the whole picture") {
  std::vector<uint8_t> out(size_t{12} * 8 * 8);
  ImageSpec spec = Spec(8, 8, ResizeMode::kShortest);
  CHECK(RowPreprocessor::Create({.width = 10, .height = 90}, spec, out.data()) == nullptr);
  CHECK(RowPreprocessor::Create({.width = 90, .height = 10}, spec, out.data()) != nullptr);
  spec.resize_mode = ResizeMode::kSquash;
  spec.resize_kind = ResizeKind::kFloat;
  CHECK(RowPreprocessor::Create({.width = 90, .height = 10}, spec, out.data()) == nullptr);
}

TEST_CASE("A flat image stays flat in every mode, up and down, at extreme shapes") {
  for (const auto& [width, height] :
       {std::pair{1, 1}, {3000, 10}, {10, 3000}, {5000, 1}, {1, 5000}, {640, 480}}) {
    const std::vector<uint8_t> rgb(size_t{3} * width * height, 123);
    for (ResizeMode mode : {ResizeMode::kShortest, ResizeMode::kSquash}) {
      for (Interpolation interpolation : {Interpolation::kBicubic, Interpolation::kBilinear}) {
        CAPTURE(width, height);
        ImageSpec spec = Spec(224, 224, mode);
        spec.interpolation = interpolation;
        const std::vector<uint8_t> out = Run(rgb, width, height, spec);
        CHECK(std::all_of(out.begin(), out.end(), [](uint8_t v) { return v == 123; }));
      }
    }
  }
}

TEST_CASE("An image that keeps its shape comes out as its grid and the planes of its patches") {
  ImageSpec spec;
  spec.resize_mode = ResizeMode::kPatches;
  spec.interpolation = Interpolation::kBilinear;
  spec.patch = 4;
  spec.max_patches = 8;
  // 2 x 4 patches: the image is of that size, and stays as it is.
  std::vector<uint8_t> out(static_cast<size_t>(spec.bytes()), 0xAA);
  Preprocess(Ramp(16, 8).data(), 16, 8, spec, out.data());
  REQUIRE(out.size() == 4 + 3 * 16 * 8);
  CHECK(PatchGrid::Read(out.data()).rows == 2);
  CHECK(PatchGrid::Read(out.data()).columns == 4);
  for (size_t y = 0; y < 8; ++y) {
    for (size_t x = 0; x < 16; ++x) {
      CHECK(out[4 + 16 * y + x] == x);
      CHECK(out[4 + 128 + 16 * y + x] == y);
      CHECK(out[4 + 256 + 16 * y + x] == 9);
    }
  }
  // No shape writes behind the memory of a prepared image, nor leaves a byte of its patches out.
  for (const auto& [width, height] : {std::pair{1, 1}, {5000, 1}, {1, 5000}, {640, 480}, {97, 3}}) {
    CAPTURE(width, height);
    const std::vector<uint8_t> rgb(size_t{3} * width * height, 123);
    std::vector<uint8_t> guarded(static_cast<size_t>(spec.bytes()) + 64, 0xAA);
    Preprocess(rgb.data(), width, height, spec, guarded.data());
    const PatchGrid grid = PatchGrid::Read(guarded.data());
    REQUIRE(grid.count() <= 8);
    const auto pixels = guarded.begin() + PatchGrid::kBytes, end = pixels + 3 * 4 * 4 * grid.count();
    CHECK(std::all_of(pixels, end, [](uint8_t v) { return v == 123; }));
    CHECK(std::all_of(end, guarded.end(), [](uint8_t v) { return v == 0xAA; }));
    const PixelRegion needed = PixelsNeeded(width, height, spec);
    CHECK(needed.width == width);
    CHECK(needed.height == height);
  }
}

}  // namespace
}  // namespace embedd
