// SPDX-License-Identifier: Apache-2.0

#include "server/model/pixel_table.h"

#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Pixels become the floats of ToTensor and Normalize, bit for bit") {
  const ImageSpec spec;
  const PixelTable table(spec);
  std::vector<uint8_t> in(256);
  for (int v = 0; v < 256; ++v) in[v] = static_cast<uint8_t>(v);
  std::vector<float> out(256);
  // Ends of the range as torchvision 0.28 computes them with OpenAI's mean and std.
  const float first[] = {-1.79226255f, -1.75209713f, -1.48021984f},
              last[] = {1.93033612f, 2.0748837f, 2.14589691f};
  for (int c = 0; c < 3; ++c) {
    table.Normalize(c, in.data(), 256, out.data());
    CHECK(out[0] == first[c]);
    CHECK(out[255] == last[c]);
    for (int v = 0; v < 256; ++v) {
      const float unit = static_cast<float>(v) / 255.0f;
      REQUIRE(out[v] == (unit - spec.mean[c]) / spec.std[c]);
    }
  }
}

}  // namespace
}  // namespace embedd
