// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/tiff_samples.h"

#include <algorithm>
#include <cstring>

#include "server/prepare/image/pixel_rules.h"

namespace embedd {
namespace {

enum Photometric : uint16_t {
  kWhiteIsZero = 0,
  kBlackIsZero = 1,
  kRgb = 2,
  kPalette = 3,
  kCmyk = 5,
  kYcc = 6,
  kLab = 8
};
enum Format : uint16_t { kUnsigned = 1, kSigned = 2, kFloat = 3 };

template <typename T>
T At(const uint8_t* row, uint64_t i) {
  T value;
  std::memcpy(&value, row + i * sizeof(T), sizeof value);
  return value;
}

template <typename T>
uint8_t Clip(T value) {
  return static_cast<uint8_t>(std::clamp<T>(value, 0, 255));
}

uint8_t Divide(uint32_t color, uint32_t alpha) {
  if (alpha == 0) return 0;
  return static_cast<uint8_t>(std::min<uint32_t>(255 * color / alpha, 255));
}

bool GreyReadable(const TiffLayout& layout, bool big_endian) {
  const bool white = layout.photometric == kWhiteIsZero;
  if (layout.extra > 0) return layout.bits == 8 && layout.extra == 1 && !white && !layout.premultiplied;
  switch (layout.bits) {
    case 1:
    case 2:
    case 4:
      return layout.format == kUnsigned;
    case 8:
      return layout.format == kUnsigned || (layout.format == kSigned && !white);
    case 12:
      return layout.format == kUnsigned && !white && !big_endian;
    case 16:
      return white ? layout.format == kUnsigned && !big_endian : layout.format != kFloat;
    case 32:
      return layout.format == kFloat || (!white && (layout.format == kSigned || !big_endian));
    default:
      return false;
  }
}

}  // namespace

bool TiffLayout::Readable(bool big_endian, bool compressed) const {
  if (samples != ColorSamples() + extra && !(photometric == kRgb && samples == 4 && extra == 0)) return false;
  constexpr uint16_t kMostSamples = 6;
  if (samples > kMostSamples || format > kFloat) return false;
  switch (photometric) {
    case kWhiteIsZero:
    case kBlackIsZero:
      return GreyReadable(*this, big_endian);
    case kPalette:
      return format == kUnsigned && extra <= 1 &&
             (extra == 0 ? bits == 1 || bits == 2 || bits == 4 || bits == 8 : bits == 8);
    case kRgb:
      return format == kUnsigned && (bits == 8 || (bits == 16 && extra <= 1));
    case kCmyk:
      return format == kUnsigned && (bits == 8 || (bits == 16 && extra == 0));
    case kYcc:
      // Without compression Pillow takes the samples as they lie: three for each pixel.
      return format == kUnsigned && bits == 8 && extra == 0 &&
             (samples == 1 || compressed || (!subsampled && !planar));
    case kLab:
      return format == kUnsigned && bits == 8 && extra == 0;
    default:
      return false;
  }
}

uint16_t TiffLayout::PlanesRead() const {
  if (!planar) return 1;
  return static_cast<uint16_t>(std::min<int>(samples, ColorSamples() + (premultiplied ? 1 : 0)));
}

// A sample of 8 bits, or the high byte of one of 16.
uint32_t TiffPainter::Level(const uint8_t* row, uint64_t sample) const {
  return layout_.bits == 16 ? At<uint16_t>(row, sample) >> 8 : row[sample];
}

void TiffPainter::PaintGrey(const uint8_t* row, uint32_t columns, int step, uint8_t* out) {
  const bool white = layout_.photometric == kWhiteIsZero;
  for (uint64_t x = 0; x < columns; ++x, out += 3) {
    const uint64_t i = x * static_cast<uint64_t>(step);
    uint8_t value = 0;
    switch (layout_.bits) {
      case 8:
        value = white ? static_cast<uint8_t>(255 - row[i]) : row[i];
        break;
      case 12: {
        const uint64_t bit = x * 12;
        const uint32_t pair = static_cast<uint32_t>(row[bit / 8] << 8 | row[bit / 8 + 1]);
        value = Clip<uint32_t>(bit % 8 == 0 ? pair >> 4 : pair & 0xFFF);
        break;
      }
      case 16:
        value = layout_.format == kSigned ? Clip<int>(At<int16_t>(row, i)) : Clip<int>(At<uint16_t>(row, i));
        break;
      case 32:
        if (layout_.format == kFloat) {
          const auto level = At<float>(row, i);
          value = level > 0 ? Clip(std::min(level, 255.0F)) : uint8_t{0};
        } else {
          value = Clip<int32_t>(At<int32_t>(row, i));
        }
        break;
      default: {  // 1, 2 or 4
        const uint64_t bit = x * layout_.bits;
        const int most = (1 << layout_.bits) - 1;
        const int level = row[bit / 8] >> (8 - layout_.bits - static_cast<int>(bit % 8)) & most;
        value = static_cast<uint8_t>((white ? most - level : level) * (255 / most));
      }
    }
    out[0] = out[1] = out[2] = value;
  }
}

void TiffPainter::Paint(const uint8_t* row, uint16_t plane, uint32_t columns, uint8_t* out) {
  const int step = layout_.planar ? 1 : layout_.samples;
  if (layout_.photometric == kPalette) {
    for (uint64_t x = 0; x < columns; ++x, out += 3) {
      const uint64_t bit = x * static_cast<uint64_t>(step) * layout_.bits;
      const int index =
          row[bit / 8] >> (8 - layout_.bits - static_cast<int>(bit % 8)) & ((1 << layout_.bits) - 1);
      std::memcpy(out, layout_.palette[static_cast<size_t>(index)].data(), 3);
    }
    return;
  }
  if (layout_.ColorSamples() == 1 || layout_.samples == 1) return PaintGrey(row, columns, step, out);
  if (layout_.planar) {
    for (uint64_t x = 0; x < columns; ++x, out += 3) {
      const uint32_t level = Level(row, x);
      if (plane < 3) {
        out[plane] = static_cast<uint8_t>(level);
      } else if (layout_.photometric == kCmyk) {
        const uint8_t inks[4] = {out[0], out[1], out[2], static_cast<uint8_t>(level)};
        ToRgb(PixelRule::kCmyk8, inks, 1, out);
      } else {  // premultiplied
        for (int c = 0; c < 3; ++c) out[c] = Divide(out[c], level);
      }
    }
    return;
  }
  for (uint64_t x = 0; x < columns; ++x, out += 3) {
    const uint64_t i = x * static_cast<uint64_t>(step);
    if (layout_.photometric == kYcc) {
      ToRgb(PixelRule::kYcc8, row + i, 1, out);
      continue;
    }
    if (layout_.photometric == kCmyk) {
      uint8_t inks[4];
      for (uint64_t c = 0; c < 4; ++c) inks[c] = static_cast<uint8_t>(Level(row, i + c));
      ToRgb(PixelRule::kCmyk8, inks, 1, out);
      continue;
    }
    for (uint64_t c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>(Level(row, i + c));
    if (!layout_.premultiplied) continue;
    const uint32_t alpha = Level(row, i + 3);
    for (int c = 0; c < 3; ++c) out[c] = Divide(out[c], alpha);
  }
}

void TurnPixels(const uint8_t* in, int64_t width, int64_t height, int orientation, uint8_t* out) {
  const bool swapped = orientation >= 5;
  const int64_t out_width = swapped ? height : width;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x, in += 3) {
      const int64_t right = width - 1 - x, below = height - 1 - y;
      int64_t to_x = x, to_y = y;
      switch (orientation) {
        case 2:
          to_x = right;
          break;
        case 3:
          to_x = right;
          to_y = below;
          break;
        case 4:
          to_y = below;
          break;
        case 5:
          to_x = y;
          to_y = x;
          break;
        case 6:
          to_x = below;
          to_y = x;
          break;
        case 7:
          to_x = below;
          to_y = right;
          break;
        default:
          to_x = y;
          to_y = right;
      }
      std::memcpy(out + 3 * (to_y * out_width + to_x), in, 3);
    }
  }
}

}  // namespace embedd
