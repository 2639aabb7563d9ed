// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/pil_kernels.h"

#include <random>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

// Bytes of the worst kind for a filter with negative weights: extremes beside noise.
std::vector<uint8_t> Bytes(size_t size, int seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& b : bytes) {
    const uint32_t r = random();
    b = r % 3 == 0 ? 0 : r % 3 == 1 ? 255 : r >> 24;
  }
  return bytes;
}

std::vector<const PilKernels*> Others() {
  std::vector<const PilKernels*> kernels;
  if (Avx2PilKernels() != nullptr) kernels.push_back(Avx2PilKernels());
  if (kernels.empty()) WARN("this processor runs the portable kernels only");
  return kernels;
}

struct Case {
  int in, out;
};
constexpr Case kCases[] = {{500, 298}, {298, 500}, {3, 40},  {1, 9}, {4000, 298},
                           {20000, 3}, {37, 37},   {65, 32}, {9, 4}};

TEST_CASE("Every set of kernels filters rows to the bytes of the portable one") {
  for (const PilKernels* kernels : Others()) {
    for (const Case& c : kCases) {
      for (Interpolation interpolation : {Interpolation::kBicubic, Interpolation::kBilinear}) {
        CAPTURE(kernels->name, c.in, c.out);
        const PilAxis axis(c.in, c.out, 0, c.out, interpolation);
        const size_t row = 3 * axis.reach() + PilKernels::kReadSlack;
        const size_t line = 3 * c.out + PilKernels::kWriteSlack;
        const std::vector<uint8_t> source = Bytes(PilKernels::kRows * row, c.in);
        std::vector<uint8_t> want(PilKernels::kRows * line), got(want.size());
        const uint8_t* in[PilKernels::kRows];
        uint8_t* to_want[PilKernels::kRows];
        uint8_t* to_got[PilKernels::kRows];
        for (int r = 0; r < PilKernels::kRows; ++r) {
          in[r] = source.data() + r * row;
          to_want[r] = want.data() + r * line;
          to_got[r] = got.data() + r * line;
        }
        PortablePilKernels().horizontal(in, axis, to_want);
        kernels->horizontal(in, axis, to_got);
        for (int r = 0; r < PilKernels::kRows; ++r) {
          CHECK(std::equal(to_want[r], to_want[r] + 3 * c.out, to_got[r]));
        }
      }
    }
  }
}

TEST_CASE("Every set of kernels filters columns to the bytes of the portable one, at every width") {
  for (const PilKernels* kernels : Others()) {
    for (const Case& c : kCases) {
      const PilAxis axis(c.in, c.out, 0, c.out, Interpolation::kBicubic);
      for (int64_t bytes : {1, 31, 32, 33, 63, 64, 95, 100}) {
        CAPTURE(kernels->name, c.in, c.out, bytes);
        const std::vector<uint8_t> source = Bytes(c.in * bytes, c.out);
        std::vector<uint8_t> want(bytes), got(bytes);
        for (int i = 0; i < c.out; i += 1 + c.out / 7) {
          const uint8_t* top = source.data() + (axis.origin() + axis.start(i)) * bytes;
          PortablePilKernels().vertical(top, bytes, axis, i, bytes, want.data());
          kernels->vertical(top, bytes, axis, i, bytes, got.data());
          CHECK(want == got);
        }
      }
    }
  }
}

TEST_CASE("Every set of kernels splits pixels into planes at every width") {
  for (const PilKernels* kernels : Others()) {
    for (int width : {1, 2, 15, 16, 17, 31, 32, 47, 224}) {
      const std::vector<uint8_t> rgb = Bytes(3 * width, width);
      std::vector<uint8_t> planes(3 * width);
      kernels->planar(rgb.data(), width, planes.data(), planes.data() + width, planes.data() + 2 * width);
      for (int x = 0; x < width; ++x) {
        for (int c = 0; c < 3; ++c) CHECK(planes[c * width + x] == rgb[3 * x + c]);
      }
    }
  }
}

}  // namespace
}  // namespace embedd
