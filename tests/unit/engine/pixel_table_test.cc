// SPDX-License-Identifier: Apache-2.0

#include "server/engine/pixel_table.h"

#include <cstring>
#include <random>
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

TEST_CASE("Pieces of any length become the same floats, whatever the mean and the deviation") {
  std::mt19937 random(7);
  const auto between = [&](float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(random);
  };
  std::vector<uint8_t> in(256);
  for (int v = 0; v < 256; ++v) in[v] = static_cast<uint8_t>(v);
  for (int round = 0; round < 200; ++round) {
    ImageSpec spec;
    for (int c = 0; c < 3; ++c) {
      spec.mean[c] = round == 0 ? 0.5f : between(-1, 2);
      spec.std[c] = round == 0 ? 0.5f : round == 1 ? 1e-39f : between(1e-3f, 2);  // 1e-39: no normal number
    }
    const PixelTable table(spec);
    const int begin = static_cast<int>(random() % 256), n = static_cast<int>(random() % (257 - begin));
    std::vector<float> out(n + 1, 77);
    for (int c = 0; c < 3; ++c) {
      table.Normalize(c, in.data() + begin, n, out.data());
      for (int i = 0; i < n; ++i) {
        const float unit = static_cast<float>(begin + i) / 255.0f,
                    wanted = (unit - spec.mean[c]) / spec.std[c];
        REQUIRE(std::memcmp(&out[i], &wanted, sizeof(float)) == 0);
      }
      REQUIRE(out[n] == 77);
    }
  }
}

#if defined(__x86_64__)
TEST_CASE("The usual means and deviations need no table on a processor with AVX2") {
  const bool can = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  ImageSpec image_net, halves;
  image_net.mean = {0.485f, 0.456f, 0.406f};
  image_net.std = {0.229f, 0.224f, 0.225f};
  halves.mean = halves.std = {0.5f, 0.5f, 0.5f};
  for (const ImageSpec& spec : {ImageSpec{}, image_net, halves}) {
    CHECK(PixelTable(spec).vectorized() == can);
  }
}
#endif

}  // namespace
}  // namespace embedd
