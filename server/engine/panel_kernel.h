// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of PanelProduct and Attention: a tile of a few rows by one panel, its sums held in
// registers, and what lies between two such products. One kernel for each instruction set, chosen at run
// time; like those of PilKernels, they carry their target themselves and are built with plain flags, so
// nothing inline from a header can end up in the program compiled for a processor that is not there.

#pragma once

#include <array>
#include <cstdint>

namespace embedd {

struct PanelTile {
  const float* x;  // the tile's first row; rows lie x_stride apart
  int64_t x_stride;
  const float* panel;  // [depth, columns of the kernel]
  int64_t depth;
  const float* bias;  // of each column, or null
  float* out;         // rows lie out_stride apart
  int64_t out_stride;
  bool add;  // to what `out` holds; else `out` is only written
  // Brought into the cache meanwhile: so many lines of a cache for every kGroup inputs.
  const float* fetch;
  int64_t fetch_lines;
};

inline constexpr int64_t kGroup = 8;
inline constexpr int64_t kLine = 16;  // numbers in a line of a cache

// a / b, rounded up: into so many tiles, panels or pieces.
constexpr int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct PanelKernel {
  const char* name;
  int64_t columns;  // of a panel
  int64_t rows;     // at most, of a tile
  // multiply[rows - 1] computes out = x panel + bias of so many rows. Through MultiplyTile only.
  void (*const* multiply)(const PanelTile& tile);
  // Products of more than a few rows are computed by SplitTiles, `multiply` is for the others.
  bool in_tiles;
  // Softmax of scale * row[0, count) in place; what lies behind it, up to whole panels, may be overwritten.
  void (*softmax)(float* row, int64_t count, float scale);
  // GELU by tanh of row[0, count) in place.
  void (*gelu_tanh)(float* row, int64_t count);
};

// Null where this processor, or this build, has not got the instructions (AVX2 and FMA; AVX-512F).
const PanelKernel* Avx2PanelKernel();        // 6 rows x 16 columns
const PanelKernel* Avx512PanelKernel();      // 10 x 32
const PanelKernel* WideAvx512PanelKernel();  // 9 x 48
const PanelKernel* AmxPanelKernel();         // 32 x 32

// For few columns, such as those of a head: the wider of the first two into whose panels they divide; null
// without any.
const PanelKernel* PanelKernelFor(int64_t columns);
// For many columns; null without any.
const PanelKernel* WidestPanelKernel();

// The tile of 1 to kernel.rows rows.
void MultiplyTile(const PanelKernel& kernel, const PanelTile& tile, int64_t rows);

// Four rows of `count` numbers, a multiple of four, become four columns of `out`, whose rows lie out_stride
// apart.
void TransposeFour(const std::array<const float*, 4>& rows, int64_t count, float* out, int64_t out_stride);

// The sums of a kernel are registers only when the loops over rows are gone.
#if defined(__clang__)
#define EMBEDD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EMBEDD_UNROLL _Pragma("GCC unroll 16")
#endif

}  // namespace embedd
