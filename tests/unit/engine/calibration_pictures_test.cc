// SPDX-License-Identifier: Apache-2.0

#include "server/engine/calibration_pictures.h"

#include <algorithm>
#include <set>
#include <string>

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

}  // namespace
}  // namespace embedd
