// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/yuv_to_rgb.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace embedd {
namespace {

enum Matrix {
  kIdentity = 0,
  kBt709 = 1,
  kFcc = 4,
  kSmpte240 = 7,
  kYcgco = 8,
  kBt2020 = 9,
  kFromPrimaries = 12
};

// What red and blue add to luma.
struct Weights {
  float red, blue;
};

Weights WeightsFor(int matrix, int primaries) {
  if (matrix == kFromPrimaries)
    matrix = primaries == 1   ? kBt709
             : primaries == 9 ? kBt2020
             : primaries == 4 ? kFcc
             : primaries == 7 ? kSmpte240
                              : 6;
  switch (matrix) {
    case kBt709:
      return {0.2126F, 0.0722F};
    case kFcc:
      return {0.30F, 0.11F};
    case kSmpte240:
      return {0.212F, 0.087F};
    case kBt2020:
      return {0.2627F, 0.0593F};
    default:
      return {0.299F, 0.114F};
  }
}

template <typename T>
int Sample(const uint8_t* row, int64_t x) {
  T value;
  std::memcpy(&value, row + x * static_cast<int64_t>(sizeof(T)), sizeof value);
  return value;
}

// One row of chroma at full width: three parts of the near row and column, one of the far, rounded to whole
// samples as libyuv does.
template <typename T>
void ChromaRow(const YuvPlanes& yuv, int channel, int64_t y, std::vector<int>* line, std::vector<int>* out) {
  const int64_t columns = (yuv.width + (1 << yuv.chroma_shift_x) - 1) >> yuv.chroma_shift_x;
  const int64_t rows = (yuv.height + (1 << yuv.chroma_shift_y) - 1) >> yuv.chroma_shift_y;
  const auto row = [&](int64_t at) {
    return yuv.plane[channel] + std::clamp<int64_t>(at, 0, rows - 1) * yuv.stride[channel];
  };
  if (!yuv.smooth) {
    const uint8_t* near = row(y >> yuv.chroma_shift_y);
    for (int64_t x = 0; x < yuv.width; ++x) (*out)[x] = Sample<T>(near, x >> yuv.chroma_shift_x);
    return;
  }
  if (yuv.chroma_shift_y == 0) {
    for (int64_t x = 0; x < columns; ++x) (*line)[x] = 4 * Sample<T>(row(y), x);
  } else {
    const uint8_t* near = row(y / 2);
    const uint8_t* far = row(y % 2 == 0 ? y / 2 - 1 : y / 2 + 1);
    for (int64_t x = 0; x < columns; ++x) (*line)[x] = 3 * Sample<T>(near, x) + Sample<T>(far, x);
  }
  if (yuv.chroma_shift_x == 0) {
    for (int64_t x = 0; x < yuv.width; ++x) (*out)[x] = ((*line)[x] + 2) >> 2;
    return;
  }
  for (int64_t x = 0; x < yuv.width; ++x) {
    const int64_t near = x / 2;
    // The last pixel takes its own sample alone, also where there is another before it.
    const int64_t far =
        x + 1 == yuv.width ? near : std::clamp<int64_t>(x % 2 == 0 ? near - 1 : near + 1, 0, columns - 1);
    (*out)[x] = (3 * (*line)[near] + (*line)[far] + 8) >> 4;
  }
}

uint8_t ToByte(float value) { return static_cast<uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F)); }

template <typename T>
void Convert(const YuvPlanes& yuv, int64_t columns, int64_t rows, uint8_t* rgb, std::ptrdiff_t stride) {
  const auto most = static_cast<float>((1 << yuv.bits) - 1);
  const auto unit = static_cast<float>(1 << (yuv.bits - 8));
  const float black = yuv.full_range ? 0 : 16 * unit;
  const float luma_scale = yuv.full_range ? 255 / most : 255 / (219 * unit);
  const float chroma_scale = yuv.full_range ? 255 / most : 255 / (224 * unit);
  const float middle = static_cast<float>(1 << (yuv.bits - 1));
  const Weights w = WeightsFor(yuv.matrix, yuv.primaries);
  const float green = 1 - w.red - w.blue;
  const bool grey = yuv.plane[1] == nullptr;
  std::vector<int> line(static_cast<size_t>(yuv.width)), cb(line), cr(line);
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* luma = yuv.plane[0] + y * yuv.stride[0];
    uint8_t* out = rgb + y * stride;
    if (!grey) {
      ChromaRow<T>(yuv, 1, y, &line, &cb);
      ChromaRow<T>(yuv, 2, y, &line, &cr);
    }
    for (int64_t x = 0; x < columns; ++x, out += 3) {
      const float l = (static_cast<float>(Sample<T>(luma, x)) - black) * luma_scale;
      if (grey) {
        out[0] = out[1] = out[2] = ToByte(l);
      } else if (yuv.matrix == kIdentity) {
        out[0] = ToByte((static_cast<float>(cr[x]) - black) * luma_scale);
        out[1] = ToByte(l);
        out[2] = ToByte((static_cast<float>(cb[x]) - black) * luma_scale);
      } else {
        const float u = (static_cast<float>(cb[x]) - middle) * chroma_scale;
        const float v = (static_cast<float>(cr[x]) - middle) * chroma_scale;
        if (yuv.matrix == kYcgco) {
          out[0] = ToByte(l - u + v);
          out[1] = ToByte(l + u);
          out[2] = ToByte(l - u - v);
        } else {
          const float r = l + 2 * (1 - w.red) * v;
          const float b = l + 2 * (1 - w.blue) * u;
          out[0] = ToByte(r);
          out[1] = ToByte(l - (2 * w.red * (1 - w.red) * v + 2 * w.blue * (1 - w.blue) * u) / green);
          out[2] = ToByte(b);
        }
      }
    }
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
