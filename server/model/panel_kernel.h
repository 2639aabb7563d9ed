// SPDX-License-Identifier: Apache-2.0
//
// The inner loop of PanelProduct: a tile of up to 6 rows by 16 columns, held in registers.

#pragma once

#include <cstdint>

namespace embedd {

inline constexpr int64_t kPanel = 16;      // columns of a panel: two registers of eight
inline constexpr int64_t kTileRows = 6;    // 6 x 2 sums, 2 weights, 1 input: 15 of the 16 registers
inline constexpr int64_t kFetchParts = 8;  // tiles share the fetching of the next panel

struct PanelTile {
  const float* x;  // the tile's first row; rows lie x_stride apart
  int64_t x_stride;
  const float* panel;  // [depth, 16]
  int64_t depth;
  const float* bias;  // 16, or null
  float* out;         // rows lie out_stride apart
  int64_t out_stride;
  bool add;            // to what `out` holds; else `out` is only written
  const float* fetch;  // brought into the cache meanwhile: depth / kFetchParts rows of a panel
};

#if defined(__x86_64__)
inline constexpr bool kPanelKernelBuilt = true;
#else
inline constexpr bool kPanelKernelBuilt = false;
#endif

// out = x panel + bias, for 1 to kTileRows rows. Needs AVX2 and FMA, and kPanelKernelBuilt.
void MultiplyTile(const PanelTile& tile, int rows);

}  // namespace embedd
