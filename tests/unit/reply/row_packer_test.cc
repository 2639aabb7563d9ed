// SPDX-License-Identifier: Apache-2.0

#include "server/reply/row_packer.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> Packed32(const std::vector<float>& row, bool normalize) {
  std::vector<float> out(row.size(), -7);
  REQUIRE(PackRow(row, normalize, RowEncoding::kFloat32, reinterpret_cast<char*>(out.data())));
  return out;
}

std::vector<uint16_t> Packed16(const std::vector<float>& row, bool normalize) {
  std::vector<uint16_t> out(row.size(), 0xdead);
  REQUIRE(PackRow(row, normalize, RowEncoding::kFloat16, reinterpret_cast<char*>(out.data())));
  return out;
}

bool Packs(const std::vector<float>& row, bool normalize, RowEncoding encoding = RowEncoding::kFloat32) {
  std::vector<char> out(row.size() * BytesPerNumber(encoding));
  return PackRow(row, normalize, encoding, out.data());
}

// The value of a finite half, by the definition of the format.
double HalfValue(uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

TEST_CASE("A normalised row has length one and keeps its direction") {
  CHECK(Packed32({3, 0, 4}, true) == std::vector<float>{0.6f, 0, 0.8f});
  double sum = 0;
  std::vector<float> row(768);
  for (size_t i = 0; i < row.size(); ++i) row[i] = std::sin(static_cast<float>(i)) * 1e-3f;
  for (const float v : Packed32(row, true)) sum += double{v} * v;
  CHECK(std::sqrt(sum) == Approx(1.0).epsilon(1e-7));
}

TEST_CASE("A row that is not normalised leaves bit by bit as the tower gave it") {
  const std::vector<float> row = {1.5f, -2.25e-20f, 3e15f, -1e-45f};
  CHECK(Packed32(row, false) == row);
}

TEST_CASE("Numbers are written little-endian") {
  unsigned char out[4];
  const std::vector<float> one = {1.0f};  // 0x3f800000
  REQUIRE(PackRow(one, false, RowEncoding::kFloat32, reinterpret_cast<char*>(out)));
  CHECK(out[0] == 0x00);
  CHECK(out[1] == 0x00);
  CHECK(out[2] == 0x80);
  CHECK(out[3] == 0x3f);
  REQUIRE(PackRow(one, false, RowEncoding::kFloat16, reinterpret_cast<char*>(out)));
  CHECK(out[0] == 0x00);
  CHECK(out[1] == 0x3c);
}

TEST_CASE("Minus zero never leaves the server, in any encoding, also when a number underflows to it") {
  for (const bool normalize : {false, true}) {
    // -1e-40 divided by 2e9 is below the smallest float; -1e-9 is below the smallest half.
    const std::vector<float> row = {-0.0f, 2e9f, normalize ? -1e-40f : -0.0f};
    for (const float v : Packed32(row, normalize)) CHECK_FALSE((v == 0 && std::signbit(v)));
    const std::vector<float> halves = {-0.0f, 1.0f, -1e-9f};
    for (const uint16_t v : Packed16(halves, normalize)) CHECK(v != 0x8000u);
  }
}

TEST_CASE("A row with a number that is not finite is refused") {
  for (const float bad : {kNaN, kInfinity, -kInfinity}) {
    for (const bool normalize : {false, true}) {
      CHECK_FALSE(Packs({1, bad, 2}, normalize));
      CHECK_FALSE(Packs({1, bad, 2}, normalize, RowEncoding::kFloat16));
    }
  }
}

TEST_CASE("A row of length zero cannot be normalised, and is refused") {
  CHECK_FALSE(Packs({0, 0, 0}, true));
  CHECK_FALSE(Packs({1e-30f, 0, 0}, true));
  CHECK(Packs({0, 0, 0}, false));
}

TEST_CASE("A number too large for float16 is refused there, never written as infinity") {
  CHECK_FALSE(Packs({65520.0f}, false, RowEncoding::kFloat16));
  CHECK(Packed16({65519.0f}, false) == std::vector<uint16_t>{0x7bff});
  CHECK(Packs({65520.0f}, false, RowEncoding::kFloat32));
  CHECK(Packs({1e6f, 1e6f}, true, RowEncoding::kFloat16));
}

TEST_CASE("Very long and very short rows are normalised without overflow") {
  CHECK(Packed32({3e17f, 4e17f}, true) == std::vector<float>{0.6f, 0.8f});
  CHECK(Packed32({3e-12f, 4e-12f}, true)[1] == Approx(0.8f));
}

TEST_CASE("Each half comes back as itself") {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    if (((half >> 10) & 31) == 31) continue;  // infinities and NaNs
    REQUIRE(ToHalf(static_cast<float>(HalfValue(static_cast<uint16_t>(half)))) == half);
  }
}

TEST_CASE("Rounding to half is to the nearest, and a tie goes to the even one") {
  for (uint32_t low = 0; low < 0x7bff; ++low) {
    const double a = HalfValue(static_cast<uint16_t>(low)), b = HalfValue(static_cast<uint16_t>(low + 1));
    const float middle = static_cast<float>((a + b) / 2);  // exact: one bit more than a half
    REQUIRE(ToHalf(middle) == (low % 2 == 0 ? low : low + 1));
    REQUIRE(ToHalf(std::nextafter(middle, 0.0f)) == low);
    REQUIRE(ToHalf(std::nextafter(middle, kInfinity)) == low + 1);
    REQUIRE(ToHalf(-middle) == (0x8000u | (low % 2 == 0 ? low : low + 1)));
  }
}

TEST_CASE("The ends of the half range: overflow, infinity, NaN, underflow") {
  CHECK(ToHalf(65519.996f) == 0x7bff);
  CHECK(ToHalf(65520.0f) == 0x7c00);
  CHECK(ToHalf(-1e30f) == 0xfc00);
  CHECK(ToHalf(kInfinity) == 0x7c00);
  CHECK((ToHalf(kNaN) & 0x7c00) == 0x7c00);
  CHECK((ToHalf(kNaN) & 0x03ff) != 0);
  CHECK(ToHalf(1e-10f) == 0);
  CHECK(ToHalf(-1e-10f) == 0x8000);
}

}  // namespace
}  // namespace embedd
