// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/pixel_rules.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace embedd {
namespace {

uint16_t Sample16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <int kStep>
void Gray8(const uint8_t* in, int64_t count, uint8_t* out) {
  for (; count > 0; --count, in += kStep, out += 3) out[0] = out[1] = out[2] = in[0];
}

void Rgba8(const uint8_t* in, int64_t count, uint8_t* out) {
  for (; count > 0; --count, in += 4, out += 3) std::memcpy(out, in, 3);
}

// Ink on white paper: what black leaves over, less its share of the colour. Products of two bytes are divided
// by 255 with rounding, without a division.
uint8_t Ink(int paper, int ink) {
  const int product = paper * ink + 128;
  return static_cast<uint8_t>(std::max(paper - ((product + (product >> 8)) >> 8), 0));
}

// kFlip is 255 where 255 means no ink.
template <int kFlip>
void Cmyk8(const uint8_t* in, int64_t count, uint8_t* out) {
  for (; count > 0; --count, in += 4, out += 3) {
    const int paper = 255 - (in[3] ^ kFlip);
    for (int c = 0; c < 3; ++c) out[c] = Ink(paper, in[c] ^ kFlip);
  }
}

void Clip16(const uint8_t* in, int64_t count, uint8_t* out) {
  for (; count > 0; --count, in += 2, out += 3) {
    out[0] = out[1] = out[2] = static_cast<uint8_t>(std::min<int>(Sample16(in), 255));
  }
}

void GrayA16(const uint8_t* in, int64_t count, uint8_t* out) {
  for (; count > 0; --count, in += 4, out += 3)
    out[0] = out[1] = out[2] = static_cast<uint8_t>(Sample16(in) >> 8);
}

template <int kSamples>
void Rgb16(const uint8_t* in, int64_t count, uint8_t* out) {
  for (; count > 0; --count, in += 2 * kSamples, out += 3) {
    for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>(Sample16(in + 2 * c) >> 8);
  }
}

// Pillow's tables: the coefficients with five digits, in 64ths, rounded towards zero after a half was added.
struct YccTables {
  std::array<int, 256> red, green_of_blue, green_of_red, blue;
  YccTables() {
    for (int i = 0; i < 256; ++i) {
      const auto at = [i](double factor) { return static_cast<int>(factor * 64 * (i - 128) + 0.5); };
      const auto level = static_cast<size_t>(i);
      red[level] = at(1.402);
      green_of_blue[level] = at(-0.34414);
      green_of_red[level] = at(-0.71414);
      blue[level] = at(1.772);
    }
  }
};

void Ycc8(const uint8_t* in, int64_t count, uint8_t* out) {
  static const YccTables tables;
  const auto clip = [](int level) { return static_cast<uint8_t>(std::clamp(level, 0, 255)); };
  for (; count > 0; --count, in += 3, out += 3) {
    const int luma = in[0];
    const uint8_t blue = in[1], red = in[2];
    out[0] = clip(luma + (tables.red[red] >> 6));
    out[1] = clip(luma + ((tables.green_of_blue[blue] + tables.green_of_red[red]) >> 6));
    out[2] = clip(luma + (tables.blue[blue] >> 6));
  }
}

}  // namespace

void ToRgb(PixelRule rule, const uint8_t* in, int64_t count, uint8_t* out) {
  switch (rule) {
    case PixelRule::kGray8:
      return Gray8<1>(in, count, out);
    case PixelRule::kGrayA8:
      return Gray8<2>(in, count, out);
    case PixelRule::kRgb8:
      std::memcpy(out, in, 3 * count);
      return;
    case PixelRule::kRgba8:
      return Rgba8(in, count, out);
    case PixelRule::kCmyk8:
      return Cmyk8<0>(in, count, out);
    case PixelRule::kPaper8:
      return Cmyk8<255>(in, count, out);
    case PixelRule::kGray16:
      return Clip16(in, count, out);
    case PixelRule::kGrayA16:
      return GrayA16(in, count, out);
    case PixelRule::kRgb16:
      return Rgb16<3>(in, count, out);
    case PixelRule::kRgba16:
      return Rgb16<4>(in, count, out);
    case PixelRule::kYcc8:
      return Ycc8(in, count, out);
  }
}

}  // namespace embedd
