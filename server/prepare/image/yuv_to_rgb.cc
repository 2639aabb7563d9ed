// SPDX-License-Identifier: Apache-2.0
//
// libavif leaves the common matrices to libyuv, which computes in 64ths of a grey level, and computes the
// others itself in floats. The rules here were found by comparing with Pillow on files of every depth,
// subsampling, range and matrix; the comparison is in tests/parity/pixels.

#include "server/prepare/image/yuv_to_rgb.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace embedd {
namespace {

enum Matrix {
  kIdentity = 0,
  kBt709 = 1,
  kUnspecified = 2,
  kFcc = 4,
  kBt470 = 5,
  kBt601 = 6,
  kSmpte240 = 7,
  kYcgco = 8,
  kBt2020 = 9,
  kFromPrimaries = 12
};

// What red and blue add to luma.
struct Weights {
  float red, blue;
};

// Those of luma (the matrix 12) by the primaries and the white point that H.273 gives.
Weights WeightsOfPrimaries(int primaries) {
  switch (primaries) {
    case 4:
      return {0.298967F, 0.114612F};
    case 5:
      return {0.299F, 0.114F};
    case 6:
      return {0.299F, 0.114F};
    case 7:
      return {0.212376F, 0.086564F};
    case 8:
      return {0.253585F, 0.068079F};
    case 9:
      return {0.2627F, 0.0593F};
    case 10:
      return {0, 0};
    case 11:
      return {0.209492F, 0.068913F};
    case 12:
      return {0.228975F, 0.079287F};
    case 22:
      return {0.231751F, 0.095999F};
    default:
      return {0.2126F, 0.0722F};
  }
}

Weights WeightsFor(int matrix, int primaries) {
  switch (matrix) {
    case kBt709:
      return {0.2126F, 0.0722F};
    case kFcc:
      return {0.30F, 0.11F};
    case kSmpte240:
      return {0.212F, 0.087F};
    case kBt2020:
      return {0.2627F, 0.0593F};
    case kFromPrimaries:
      return WeightsOfPrimaries(primaries);
    default:
      return {0.299F, 0.114F};
  }
}

// libyuv's: factors in 64ths, that of luma in 65536ths of a 64th of its 16-bit form. 128 is the most that its
// kernels take.
struct Factors {
  int luma, bias, blue_u, green_u, green_v, red_v;
};
constexpr Factors k601Full = {16320, 32, 113, 22, 46, 90}, k601 = {18997, -1160, 128, 25, 52, 102};
constexpr Factors k709Full = {16320, 32, 119, 12, 30, 101}, k709 = {18997, -1160, 128, 14, 34, 115};
constexpr Factors k2020Full = {16320, 32, 120, 11, 37, 94}, k2020 = {19003, -1160, 128, 12, 42, 107};

// Null for the matrices that libyuv does not know.
const Factors* FactorsFor(const YuvPlanes& yuv) {
  int matrix = yuv.matrix;
  if (matrix == kFromPrimaries) {
    const int p = yuv.primaries;
    matrix = p == 1 || p == 2 ? kBt709 : p == 5 || p == 6 ? kBt601 : p == 9 ? kBt2020 : matrix;
  }
  switch (matrix) {
    case kBt709:
      return yuv.full_range ? &k709Full : &k709;
    case kUnspecified:
    case kBt470:
    case kBt601:
      return yuv.full_range ? &k601Full : &k601;
    case kBt2020:
      return yuv.full_range ? &k2020Full : &k2020;
    default:
      return nullptr;
  }
}

// How the samples of a picture are read.
struct Reading {
  int drop = 0;  // bits, from samples of more than 8
  bool smooth = true;
  bool last_alone =
      false;  // the last pixel takes its own chroma alone, also where there is another before it
  bool round_alpha = true;  // to 8 bits; else cut
};

Reading ReadingFor(const YuvPlanes& yuv, bool by_factors) {
  Reading reading;
  reading.smooth = yuv.rules != YuvPlanes::Rules::kHeif;
  if (!by_factors) return reading;
  reading.last_alone = true;
  // Colours with alpha are made from 10 bits, and from 12 of 4:2:0, these with repeated chroma. All others
  // are cut to 8 first.
  constexpr int kTwelve = 12;
  const bool grey = yuv.plane[1] == nullptr;
  const bool of_12_bits = !grey && yuv.bits == kTwelve && yuv.chroma_shift_x == 1 && yuv.chroma_shift_y == 1;
  const bool with_alpha = yuv.rules == YuvPlanes::Rules::kAvifWithAlpha;
  reading.round_alpha = grey || of_12_bits;
  if (with_alpha && !grey && (yuv.bits < kTwelve || of_12_bits)) {
    reading.smooth = !of_12_bits;
  } else {
    reading.drop = yuv.bits - 8;
  }
  return reading;
}

template <typename T>
int Sample(const uint8_t* row, int64_t x, int drop) {
  T value;
  std::memcpy(&value, row + x * static_cast<int64_t>(sizeof(T)), sizeof value);
  return value >> drop;
}

// One row of chroma at full width, in 16ths: three parts of the near row and column, one of the far.
template <typename T>
void ChromaRow(const YuvPlanes& yuv, const Reading& reading, int channel, int64_t y, std::vector<int>* line,
               std::vector<int>* out) {
  const int64_t columns = (yuv.width + (1 << yuv.chroma_shift_x) - 1) >> yuv.chroma_shift_x;
  const int64_t rows = (yuv.height + (1 << yuv.chroma_shift_y) - 1) >> yuv.chroma_shift_y;
  const int drop = reading.drop;
  const auto row = [&](int64_t at) {
    return yuv.plane[channel] + std::clamp<int64_t>(at, 0, rows - 1) * yuv.stride[channel];
  };
  if (!reading.smooth) {
    const uint8_t* near = row(y >> yuv.chroma_shift_y);
    for (int64_t x = 0; x < yuv.width; ++x) (*out)[x] = 16 * Sample<T>(near, x >> yuv.chroma_shift_x, drop);
    return;
  }
  if (yuv.chroma_shift_y == 0) {
    for (int64_t x = 0; x < columns; ++x) (*line)[x] = 4 * Sample<T>(row(y), x, drop);
  } else {
    const uint8_t* near = row(y / 2);
    const uint8_t* far = row(y % 2 == 0 ? y / 2 - 1 : y / 2 + 1);
    for (int64_t x = 0; x < columns; ++x) (*line)[x] = 3 * Sample<T>(near, x, drop) + Sample<T>(far, x, drop);
  }
  if (yuv.chroma_shift_x == 0) {
    for (int64_t x = 0; x < yuv.width; ++x) (*out)[x] = 4 * (*line)[x];
    return;
  }
  for (int64_t x = 0; x < yuv.width; ++x) {
    const int64_t near = x / 2;
    const bool alone = reading.last_alone && x + 1 == yuv.width;
    const int64_t far = alone ? near : std::clamp<int64_t>(x % 2 == 0 ? near - 1 : near + 1, 0, columns - 1);
    (*out)[x] = 3 * (*line)[near] + (*line)[far];
  }
}

uint8_t ToByte(float value) { return static_cast<uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F)); }

// Calls `pixel(luma, u, v, x, y, out)` for each, with u and v in 16ths.
template <typename T, typename Pixel>
void ForEachPixel(const YuvPlanes& yuv, const Reading& reading, int64_t columns, int64_t rows, uint8_t* rgb,
                  std::ptrdiff_t stride, const Pixel& pixel) {
  const bool grey = yuv.plane[1] == nullptr;
  std::vector<int> line(static_cast<size_t>(yuv.width)), u(line), v(line);
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* luma = yuv.plane[0] + y * yuv.stride[0];
    if (!grey) {
      ChromaRow<T>(yuv, reading, 1, y, &line, &u);
      ChromaRow<T>(yuv, reading, 2, y, &line, &v);
    }
    uint8_t* out = rgb + y * stride;
    for (int64_t x = 0; x < columns; ++x, out += 3)
      pixel(Sample<T>(luma, x, reading.drop), u[x], v[x], x, y, out);
  }
}

template <typename T>
int Alpha(const YuvPlanes& yuv, int64_t x, int64_t y) {
  return Sample<T>(yuv.alpha + y * yuv.alpha_stride, x, 0);
}

// As libyuv does it: in 16 bits, of which what overflows becomes 0.
void Divide(int alpha, uint8_t* out) {
  const uint32_t a = static_cast<uint32_t>(alpha);
  const uint32_t inverse = a == 0 ? 0 : a == 1 ? 0xFFFF : a == 255 ? 0x100 : 0x10000 / a;
  for (int c = 0; c < 3; ++c) {
    const uint32_t level = out[c] * 0x101U * inverse >> 16;
    out[c] = static_cast<uint8_t>(level > 0x7FFF ? 0 : std::min<uint32_t>(level, 255));
  }
}

template <typename T>
void ConvertByFactors(const YuvPlanes& yuv, const Factors& f, int64_t columns, int64_t rows, uint8_t* rgb,
                      std::ptrdiff_t stride) {
  const Reading reading = ReadingFor(yuv, true);
  const int bits = yuv.bits - reading.drop;
  const bool grey = yuv.plane[1] == nullptr;
  const int most = (1 << yuv.bits) - 1;
  const auto chroma = [bits, grey](int sixteenths) {
    return grey ? 0 : std::min((sixteenths + 8) >> 4 >> (bits - 8), 255) - 128;
  };
  const auto level = [](int sixty_fourths) {
    return static_cast<uint8_t>(std::clamp(sixty_fourths >> 6, 0, 255));
  };
  const auto convert = [&](int luma, int u16, int v16, int64_t x, int64_t y, uint8_t* out) {
    const int u = chroma(u16), v = chroma(v16);
    const auto wide =
        static_cast<uint32_t>(bits == 8 ? luma * 0x101 : luma << (16 - bits) | luma >> (2 * bits - 16));
    const int l = static_cast<int>(wide * static_cast<uint32_t>(f.luma) >> 16) + f.bias;
    out[0] = level(l + v * f.red_v);
    out[1] = level(l - (u * f.green_u + v * f.green_v));
    out[2] = level(l + u * f.blue_u);
    if (yuv.alpha == nullptr) return;
    const int alpha = Alpha<T>(yuv, x, y);
    Divide(reading.round_alpha ? (alpha * 255 + most / 2) / most : alpha >> (yuv.bits - 8), out);
  };
  ForEachPixel<T>(yuv, reading, columns, rows, rgb, stride, convert);
}

template <typename T>
void ConvertInFloats(const YuvPlanes& yuv, int64_t columns, int64_t rows, uint8_t* rgb,
                     std::ptrdiff_t stride) {
  const auto most = static_cast<float>((1 << yuv.bits) - 1);
  const auto unit = static_cast<float>(1 << (yuv.bits - 8));
  const float black = yuv.full_range ? 0 : 16 * unit;
  const float luma_scale = yuv.full_range ? 255 / most : 255 / (219 * unit);
  const float chroma_scale = yuv.full_range ? 255 / most : 255 / (224 * unit);
  const float middle = static_cast<float>(1 << (yuv.bits - 1));
  const Weights w = WeightsFor(yuv.matrix, yuv.primaries);
  const float green = 1 - w.red - w.blue;
  const bool grey = yuv.plane[1] == nullptr;
  const auto colors = [&](int luma, int u16, int v16, float* rgb_levels) {
    const float l = (static_cast<float>(luma) - black) * luma_scale;
    const float cb = static_cast<float>(u16) / 16, cr = static_cast<float>(v16) / 16;
    const float u = (cb - middle) * chroma_scale, v = (cr - middle) * chroma_scale;
    float &r = rgb_levels[0], &g = rgb_levels[1], &b = rgb_levels[2];
    if (grey) {
      r = g = b = l;
    } else if (yuv.matrix == kIdentity) {
      r = (cr - black) * luma_scale;
      g = l;
      b = (cb - black) * luma_scale;
    } else if (yuv.matrix == kYcgco) {
      r = l - u + v;
      g = l + u;
      b = l - u - v;
    } else {
      r = l + 2 * (1 - w.red) * v;
      g = l - (2 * w.red * (1 - w.red) * v + 2 * w.blue * (1 - w.blue) * u) / green;
      b = l + 2 * (1 - w.blue) * u;
    }
  };
  const auto convert = [&](int luma, int u16, int v16, int64_t x, int64_t y, uint8_t* out) {
    float levels[3];
    colors(luma, u16, v16, levels);
    const float alpha = yuv.alpha == nullptr ? 1 : static_cast<float>(Alpha<T>(yuv, x, y)) / most;
    for (int c = 0; c < 3; ++c)
      out[c] = alpha > 0 ? ToByte(std::clamp(levels[c], 0.0F, 255.0F) / alpha) : uint8_t{0};
  };
  ForEachPixel<T>(yuv, ReadingFor(yuv, false), columns, rows, rgb, stride, convert);
}

template <typename T>
void Convert(const YuvPlanes& yuv, int64_t columns, int64_t rows, uint8_t* rgb, std::ptrdiff_t stride) {
  // libyuv has no part in grey pictures alone.
  const bool by_libyuv = yuv.rules == YuvPlanes::Rules::kAvifWithAlpha ||
                         (yuv.rules == YuvPlanes::Rules::kAvif && yuv.plane[1] != nullptr);
  if (const Factors* factors = by_libyuv ? FactorsFor(yuv) : nullptr; factors != nullptr) {
    ConvertByFactors<T>(yuv, *factors, columns, rows, rgb, stride);
  } else {
    ConvertInFloats<T>(yuv, columns, rows, rgb, stride);
  }
}

}  // namespace

bool YuvMatrixKnown(int matrix) {
  return (matrix >= 0 && matrix <= 9 && matrix != 3) || matrix == kFromPrimaries;
}

void YuvToRgb(const YuvPlanes& yuv, int64_t columns, int64_t rows, uint8_t* rgb, std::ptrdiff_t stride) {
  if (yuv.bits > 8) {
    Convert<uint16_t>(yuv, columns, rows, rgb, stride);
  } else {
    Convert<uint8_t>(yuv, columns, rows, rgb, stride);
  }
}

}  // namespace embedd
