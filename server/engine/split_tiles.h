// SPDX-License-Identifier: Apache-2.0
//
// SplitTiles: products of f32 in AMX, whose tiles multiply bf16 sixteen times as fast as AVX-512 does f32.
// Part of PanelProduct.
//
// Three bf16 hold the 24 digits of an f32 exactly: x = x1 + x2 + x3, each part the rounding of what is left.
// Of the nine products of parts six are computed; the others are below 2^-25 of the whole, where f32 ends.
// The sums are f32's, as everywhere else. After Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial
// Intelligence Datatype For Higher-Precision Computations" (ARITH 2019). Numbers below 1e-33 lose digits: AMX
// takes subnormal parts for zero. An infinity becomes NaN.
//
// One object belongs to one thread, whose tiles it configures and gives back.

#pragma once

#include <cstdint>

namespace embedd {

class SplitTiles {
 public:
  static constexpr int64_t kColumns = 32;    // of a panel
  static constexpr int64_t kRows = 208;      // at most, of a chunk: ViT-B/16 has 197 for an image
  static constexpr int64_t kDepth = 768;     // at most, of a block of inputs
  static constexpr int64_t kLeastRows = 64;  // below, AVX-512 is as fast

  // True when the processor has AMX for bf16 and the system lets this process use it. Asks once.
  static bool Available();

  // Bytes to work in, at a multiple of 64.
  static constexpr int64_t kScratchBytes = 6 * kDepth * (kRows + kColumns) + 4 * 32 * kColumns;
  explicit SplitTiles(void* scratch);
  ~SplitTiles();
  SplitTiles(const SplitTiles&) = delete;
  SplitTiles& operator=(const SplitTiles&) = delete;

  // Takes x: at most kRows rows, which lie `stride` apart, of at most kDepth inputs. Nothing is done for
  // those taken last, which therefore must not change.
  void TakeRows(const float* x, int64_t stride, int64_t rows, int64_t depth);

  // The `columns` (of kColumns) of out that a panel stands for.
  struct Panel {
    const float* data;  // [depth, kColumns]
    const float* bias;  // of each column, or null
    float* out;         // of the first row; rows lie out_stride apart
    int64_t out_stride;
    int64_t columns;
    bool add;           // to what `out` holds
    const float* next;  // the panel after it, of the same size, brought into the cache meanwhile
  };
  // out = x panel + bias, of the rows taken last.
  void Multiply(const Panel& panel);

 private:
  // Of a processor without tiles nothing is used.
  [[maybe_unused]] uint16_t* const rows_;   // [tiles of rows][steps of inputs][parts][16][32]
  [[maybe_unused]] uint16_t* const panel_;  // [steps of inputs][halves of columns][parts][16][32]
  [[maybe_unused]] float* const sums_;      // [32, kColumns]
  [[maybe_unused]] const float* x_ = nullptr;
  [[maybe_unused]] int64_t count_ = 0, steps_ = 0, depth_ = 0;
};

}  // namespace embedd
