// SPDX-License-Identifier: Apache-2.0
//
// YuvToRgb: planes of luma and chroma to RGB8, as the decoders of AVIF and HEIC need it: any subsampling, 8
// to 16 bits, the matrices of ITU-T H.273. Pillow's bytes for AVIF, libheif's within two grey levels for
// HEIC. Pure functions.

#pragma once

#include <cstddef>
#include <cstdint>

namespace embedd {

struct YuvPlanes {
  const uint8_t* plane[3] = {};   // chroma may be null: grey
  std::ptrdiff_t stride[3] = {};  // bytes
  int64_t width = 0, height = 0;  // of luma
  int chroma_shift_x = 1, chroma_shift_y = 1;
  int bits = 8;    // above 8, samples are of 16 bits in native order
  int matrix = 2;  // of H.273; 0: the planes are G, B, R
  int primaries = 2;
  bool full_range = true;
  // Whose rules round, and interpolate chroma between its samples: libavif's, of which Pillow's depend on
  // whether the picture has alpha, or libheif's, which repeats chroma.
  enum class Rules { kAvif, kAvifWithAlpha, kHeif } rules = Rules::kAvif;
  // Where colours are multiplied by it: samples like those of luma. Null otherwise.
  const uint8_t* alpha = nullptr;
  std::ptrdiff_t alpha_stride = 0;
};

// True for a matrix that YuvToRgb knows.
bool YuvMatrixKnown(int matrix);

// Writes rows of 3 * width bytes, `stride` bytes apart; only the first `columns` x `rows` pixels.
void YuvToRgb(const YuvPlanes& yuv, int64_t columns, int64_t rows, uint8_t* rgb, std::ptrdiff_t stride);

}  // namespace embedd
