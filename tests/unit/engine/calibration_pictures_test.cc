// SPDX-License-Identifier: Apache-2.0

#include "server/engine/calibration_pictures.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Calibration pictures fit the model, differ from each other and stay the same") {
  ImageSpec spec;
  spec.height = 48;
  spec.width = 80;
  const auto pictures = CalibrationPictures(spec, 24, 1);
  REQUIRE(pictures.size() == 24);
  for (const auto& picture : pictures) {
    REQUIRE(picture.size() == 3 * 48 * 80);
    const auto [low, high] = std::minmax_element(picture.begin(), picture.end());
    CHECK(*high - *low >= 20);  // not one flat colour
  }
  CHECK(CalibrationPictures(spec, 24, 1) == pictures);
  std::set<std::string> all;  // of vectors GCC 12 gives a false alarm with -O3
  for (const uint64_t seed : {1, 2}) {
    for (const auto& picture : CalibrationPictures(spec, 24, seed))
      all.emplace(picture.begin(), picture.end());
  }
  CHECK(all.size() == 48);
}

TEST_CASE("Calibration pictures of a model of any shape come in every shape, each within its patches") {
  ImageSpec spec;
  spec.resize_mode = ResizeMode::kPatches;
  spec.patch = 16;
  spec.max_patches = 256;
  std::set<std::pair<int, int>> shapes;
  for (const auto& picture : CalibrationPictures(spec, 16, 1)) {
    REQUIRE(picture.size() == static_cast<size_t>(spec.bytes()));
    const PatchGrid grid = PatchGrid::Read(picture.data());
    CHECK(grid.count() <= 256);
    CHECK(grid.count() >= 220);
    shapes.emplace(grid.rows, grid.columns);
  }
  CHECK(shapes == std::set<std::pair<int, int>>{{16, 16}, {12, 21}, {18, 14}, {5, 51}});
  spec.max_patches = 1;
  for (const auto& picture : CalibrationPictures(spec, 4, 1))
    CHECK(PatchGrid::Read(picture.data()).count() == 1);
}

}  // namespace
}  // namespace embedd
