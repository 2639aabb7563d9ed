// SPDX-License-Identifier: Apache-2.0
//
// The layouts of TIFF samples that Pillow reads, and their pixels as RGB8. Used by TiffDecoder; knows no
// library.

#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace embedd {

struct TiffLayout {
  uint32_t width = 0, height = 0;
  uint16_t bits = 1;           // per sample
  uint16_t samples = 1;        // per pixel
  uint16_t format = 1;         // 1 unsigned, 2 signed, 3 float
  uint16_t photometric = 0;    // 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 LAB
  uint16_t extra = 0;          // samples behind those of the colour
  bool premultiplied = false;  // by the first of them
  bool planar = false;         // each sample in a plane of its own
  bool subsampled = false;     // chroma of YCbCr has fewer samples
  std::array<std::array<uint8_t, 3>, 256> palette = {};

  // Samples of the colour alone.
  int ColorSamples() const {
    return photometric == 2 || photometric == 6 || photometric == 8 ? 3 : photometric == 5 ? 4 : 1;
  }
  // Whether Pillow reads such a file.
  bool Readable(bool big_endian, bool compressed) const;
  // Planes that are read one after the other: those of the colour, and of an alpha that divides it.
  uint16_t PlanesRead() const;
  int64_t RowBytes(int64_t columns) const { return (columns * bits * (planar ? 1 : samples) + 7) / 8; }
};

// Paints rows of samples in native byte order; those of LAB as they are.
class TiffPainter {
 public:
  explicit TiffPainter(const TiffLayout& layout) : layout_(layout) {}
  // Of `plane` where samples lie apart; planes come in order, each whole.
  void Paint(const uint8_t* row, uint16_t plane, uint32_t columns, uint8_t* out);

 private:
  void PaintGrey(const uint8_t* row, uint32_t columns, int step, uint8_t* out);
  uint32_t Level(const uint8_t* row, uint64_t sample) const;

  const TiffLayout& layout_;
};

// Turns `in`, RGB8 [height, width, 3], by an EXIF orientation of 2 to 8. `out` has the sides swapped from 5
// on.
void TurnPixels(const uint8_t* in, int64_t width, int64_t height, int orientation, uint8_t* out);

}  // namespace embedd
