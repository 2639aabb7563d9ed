// SPDX-License-Identifier: Apache-2.0
//
// Single pixels whose values were computed by Pillow 13 (libavif 1.4.2, libyuv). tests/parity/pixels compares
// whole files.

#include "server/prepare/image/yuv_to_rgb.h"

#include <array>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Rgb = std::array<uint8_t, 3>;
using Rules = YuvPlanes::Rules;

// One pixel of 4:4:4.
template <typename T>
Rgb Pixel(T y, T u, T v, YuvPlanes yuv, const T* alpha = nullptr) {
  const T samples[3] = {y, u, v};
  for (int i = 0; i < 3; ++i) {
    yuv.plane[i] = reinterpret_cast<const uint8_t*>(samples + i);
    yuv.stride[i] = sizeof(T);
  }
  yuv.width = yuv.height = 1;
  yuv.chroma_shift_x = yuv.chroma_shift_y = 0;
  yuv.alpha = reinterpret_cast<const uint8_t*>(alpha);
  yuv.alpha_stride = sizeof(T);
  Rgb rgb = {};
  YuvToRgb(yuv, 1, 1, rgb.data(), 3);
  return rgb;
}

YuvPlanes Kind(int bits, int matrix, bool full, Rules rules = Rules::kAvif) {
  YuvPlanes yuv;
  yuv.bits = bits;
  yuv.matrix = matrix;
  yuv.full_range = full;
  yuv.rules = rules;
  return yuv;
}

TEST_CASE("The common matrices give libyuv's levels, whose blue of limited range is cut") {
  CHECK(Pixel<uint8_t>(100, 200, 60, Kind(8, 6, true)) == Rgb{4, 124, 227});
  CHECK(Pixel<uint8_t>(100, 200, 60, Kind(8, 1, false)) == Rgb{0, 118, 242});
  CHECK(Pixel<uint8_t>(100, 200, 60, Kind(8, 9, false)) == Rgb{0, 129, 242});
}

TEST_CASE("Samples of 10 bits are cut to 8 first, unless there is alpha") {
  CHECK(Pixel<uint16_t>(403, 803, 243, Kind(10, 6, true)) == Pixel<uint8_t>(100, 200, 60, Kind(8, 6, true)));
  CHECK(Pixel<uint16_t>(203, 512, 512, Kind(10, 6, true)) == Rgb{50, 50, 50});
  CHECK(Pixel<uint16_t>(203, 512, 512, Kind(10, 6, true, Rules::kAvifWithAlpha)) == Rgb{51, 51, 51});
}

TEST_CASE("Colours multiplied by alpha are divided by it, and by none give black") {
  const uint8_t half = 128, none = 0, all = 255;
  const YuvPlanes kind = Kind(8, 6, true, Rules::kAvifWithAlpha);
  CHECK(Pixel<uint8_t>(50, 128, 128, kind, &half) == Rgb{100, 100, 100});
  CHECK(Pixel<uint8_t>(50, 128, 128, kind, &all) == Rgb{50, 50, 50});
  CHECK(Pixel<uint8_t>(50, 128, 128, kind, &none) == Rgb{0, 0, 0});
  CHECK(Pixel<uint8_t>(200, 128, 128, kind, &half) == Rgb{255, 255, 255});
}

TEST_CASE("The primaries say what the matrix is that follows from them; none named means those of BT.709") {
  YuvPlanes from = Kind(8, 12, true);
  for (const auto& [primaries, matrix] : {std::pair{1, 1}, {2, 1}, {5, 6}, {6, 6}, {9, 9}}) {
    from.primaries = primaries;
    CHECK(Pixel<uint8_t>(100, 200, 60, from) == Pixel<uint8_t>(100, 200, 60, Kind(8, matrix, true)));
  }
}

TEST_CASE("Chroma between samples is interpolated for AVIF and repeated for HEIC") {
  const uint8_t luma[4] = {100, 100, 100, 100}, u[2] = {128, 128}, v[2] = {96, 160};
  YuvPlanes yuv = Kind(8, 6, true);
  yuv.width = 4;
  yuv.height = 1;
  yuv.chroma_shift_y = 0;
  for (int i = 0; i < 3; ++i) yuv.stride[i] = 4;
  yuv.plane[0] = luma;
  yuv.plane[1] = u;
  yuv.plane[2] = v;
  std::vector<uint8_t> rgb(12);
  YuvToRgb(yuv, 4, 1, rgb.data(), 12);
  CHECK((rgb[0] < rgb[3] && rgb[3] < rgb[6] && rgb[6] < rgb[9]));
  yuv.rules = Rules::kHeif;
  YuvToRgb(yuv, 4, 1, rgb.data(), 12);
  CHECK((rgb[0] == rgb[3] && rgb[3] < rgb[6] && rgb[6] == rgb[9]));
}

}  // namespace
}  // namespace embedd
