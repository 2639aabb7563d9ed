// SPDX-License-Identifier: Apache-2.0

#include <cmath>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/towers.h"

namespace embedd {
namespace {

// Numbers that bf16 holds exactly.
std::vector<float> ShortNoise(size_t count) {
  std::vector<float> values(count);
  uint32_t seed = 7;
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 25) / 64.0f - 1.0f;
  }
  return values;
}

TEST_CASE("A half model turns its queries by the angles of f32: nothing but the result is rounded") {
  TowerConfig config;
  config.image_height = 16 * 24;
  config.image_width = 16 * 40;
  config.patch = 16;
  config.width = 128;
  config.heads = 2;
  config.registers = 4;
  config.rope = GENERATE(Rope{.kind = Rope::Kind::kHalves, .theta = 100},
                         Rope{.kind = Rope::Kind::kNeighbours, .theta = 10000, .offset = 1});
  const std::vector<float> x =
      ShortNoise(2 * static_cast<size_t>(config.tokens()) * static_cast<size_t>(config.width));
  const std::vector<float> exact = TurnByRope(config, 2, x, /*in_bf16=*/false);
  const std::vector<float> half = TurnByRope(config, 2, x, /*in_bf16=*/true);
  REQUIRE(half.size() == exact.size());
  double worst = 0;  // of what rounding to the 8 bits of bf16 may do
  for (size_t i = 0; i < exact.size(); ++i)
    worst = std::max(worst, std::abs(double{half[i]} - exact[i]) / (std::abs(exact[i]) * 0x1p-8 + 1e-6));
  CHECK(worst <= 1.01);
  CHECK(exact != x);
}

}  // namespace
}  // namespace embedd
