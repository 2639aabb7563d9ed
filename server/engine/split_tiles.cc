// SPDX-License-Identifier: Apache-2.0

#include "server/engine/split_tiles.h"

#include "server/engine/cpu_features.h"

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "server/engine/panel_kernel.h"
#include "server/engine/row_math.h"

#define EMBEDD_AVX512 __attribute__((target("avx512f")))
#define EMBEDD_AMX __attribute__((target("avx512f,amx-tile,amx-bf16")))

namespace embedd {
namespace {

constexpr int64_t kSide = 16;             // rows of a tile, and columns of sums
constexpr int64_t kStep = 32;             // inputs of a tile
constexpr int64_t kTile = kSide * kStep;  // numbers
constexpr int64_t kParts = 3;

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// Volatile: GCC's intrinsic only says that it reads the first eight bytes.
const volatile TileConfig kTileConfig;

// What the intrinsics of tiles do not say to the compiler: that they read and write memory.
void MemoryFence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// The bits of f32 numbers; operators of GCC and Clang.
typedef uint32_t Words16 __attribute__((vector_size(64)));

EMBEDD_AVX512 inline Words16 RoundToBf16(Floats16 x) { return ((Words16)x + 0x8000u) & 0xffff0000u; }

// A row of each part's tile: pairs of numbers from `low` and `high`. Rows and panels pair the same inputs,
// those that lie 16 apart, so nothing has to be shuffled.
EMBEDD_AVX512 inline void StoreParts(Floats16 low, Floats16 high, uint16_t* to) {
  for (int64_t part = 0; part < kParts; ++part, to += kTile) {
    const Words16 l = RoundToBf16(low), h = RoundToBf16(high), pairs = l >> 16 | h;
    std::memcpy(to, &pairs, sizeof(pairs));
    low -= (Floats16)l;
    high -= (Floats16)h;
  }
}

// The first `count` of 16 numbers, and zeros.
EMBEDD_AVX512 inline __mmask16 FirstOf16(int64_t count) {
  return static_cast<__mmask16>((1u << std::clamp<int64_t>(count, 0, 16)) - 1);
}

EMBEDD_AVX512 void SplitRows(const float* x, int64_t stride, int64_t rows, int64_t depth, uint16_t* to) {
  for (int64_t k = 0; k < depth; k += kStep, to += kParts * kTile) {
    const __mmask16 low = FirstOf16(depth - k), high = FirstOf16(depth - k - 16);
    for (int64_t r = 0; r < kSide; ++r) {
      const float* const from = x + r * stride + k;
      const bool there = r < rows;
      StoreParts(there ? _mm512_maskz_loadu_ps(low, from) : _mm512_setzero_ps(),
                 there ? _mm512_maskz_loadu_ps(high, from + 16) : _mm512_setzero_ps(), to + r * kStep);
    }
  }
}

EMBEDD_AVX512 void SplitPanel(const float* panel, int64_t depth, uint16_t* to) {
  for (int64_t k = 0; k < depth; k += kStep) {
    for (int64_t half = 0; half < SplitTiles::kColumns; half += kSide, to += kParts * kTile) {
      for (int64_t i = k; i < k + 16; ++i) {
        StoreParts(i < depth ? _mm512_loadu_ps(panel + i * SplitTiles::kColumns + half) : _mm512_setzero_ps(),
                   i + 16 < depth ? _mm512_loadu_ps(panel + (i + 16) * SplitTiles::kColumns + half)
                                  : _mm512_setzero_ps(),
                   to + (i - k) * kStep);
      }
    }
  }
}

// sums [32, kColumns] = one or two tiles of rows times a panel; `lines` of `fetch` are brought into the cache
// at each step. Parts are loaded so that each step changes one side only, the small products first.
template <bool kTwo>
EMBEDD_AMX void MultiplyTiles(const uint16_t* upper, const uint16_t* lower, const uint16_t* left,
                              int64_t steps, const float* fetch, int64_t lines, float* sums) {
  MemoryFence();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t line = 0; line < lines; ++line, fetch += kLine) {
      __builtin_prefetch(fetch, /*rw=*/0, /*locality=*/2);
    }
    const uint16_t* const right = left + kParts * kTile;
#define EMBEDD_ROWS(part)                          \
  _tile_loadd(4, upper + (part)*kTile, 2 * kStep); \
  if constexpr (kTwo) _tile_loadd(5, lower + (part)*kTile, 2 * kStep)
#define EMBEDD_COLUMNS(part)                      \
  _tile_loadd(6, left + (part)*kTile, 2 * kStep); \
  _tile_loadd(7, right + (part)*kTile, 2 * kStep)
#define EMBEDD_PRODUCTS      \
  _tile_dpbf16ps(0, 4, 6);   \
  _tile_dpbf16ps(1, 4, 7);   \
  if constexpr (kTwo) {      \
    _tile_dpbf16ps(2, 5, 6); \
    _tile_dpbf16ps(3, 5, 7); \
  }
    EMBEDD_ROWS(2);
    EMBEDD_COLUMNS(0);
    EMBEDD_PRODUCTS;
    EMBEDD_ROWS(1);
    EMBEDD_PRODUCTS;
    EMBEDD_ROWS(0);
    EMBEDD_PRODUCTS;
    EMBEDD_COLUMNS(2);
    EMBEDD_PRODUCTS;
    EMBEDD_COLUMNS(1);
    EMBEDD_PRODUCTS;
    EMBEDD_ROWS(1);
    EMBEDD_PRODUCTS;
#undef EMBEDD_ROWS
#undef EMBEDD_COLUMNS
#undef EMBEDD_PRODUCTS
    upper += kParts * kTile;
    lower += kParts * kTile;
    left += 2 * kParts * kTile;
  }
  constexpr int64_t kBytesOfRow = SplitTiles::kColumns * sizeof(float);
  _tile_stored(0, sums, kBytesOfRow);
  _tile_stored(1, sums + kSide, kBytesOfRow);
  if constexpr (kTwo) {
    _tile_stored(2, sums + kSide * SplitTiles::kColumns, kBytesOfRow);
    _tile_stored(3, sums + kSide * SplitTiles::kColumns + kSide, kBytesOfRow);
  }
  MemoryFence();
}

EMBEDD_AVX512 void StoreSums(const float* sums, const SplitTiles::Panel& panel, float* out, int64_t rows) {
  for (int64_t half = 0; half < panel.columns; half += kSide) {
    const __mmask16 there = FirstOf16(panel.columns - half);
    const __m512 bias =
        panel.bias != nullptr ? _mm512_maskz_loadu_ps(there, panel.bias + half) : _mm512_setzero_ps();
    for (int64_t r = 0; r < rows; ++r) {
      float* const to = out + r * panel.out_stride + half;
      __m512 sum = _mm512_add_ps(_mm512_load_ps(sums + r * SplitTiles::kColumns + half), bias);
      if (panel.add) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(there, to));
      _mm512_mask_storeu_ps(to, there, sum);
    }
  }
}

// Linux saves tiles only for a process that has asked for them.
bool AskForTiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

EMBEDD_AMX void ConfigureTiles() { _tile_loadconfig(const_cast<TileConfig*>(&kTileConfig)); }
EMBEDD_AMX void GiveBackTiles() { _tile_release(); }

}  // namespace

bool SplitTiles::Available() {
  static const bool kYes = CpuHasAny({"amx_bf16"}) && CpuHasAny({"avx512_f"}) && AskForTiles();
  return kYes;
}

SplitTiles::SplitTiles(void* scratch)
    : rows_(static_cast<uint16_t*>(scratch)),
      panel_(rows_ + kParts * kDepth * kRows),
      sums_(reinterpret_cast<float*>(panel_ + kParts * kDepth * kColumns)) {
  ConfigureTiles();
}

SplitTiles::~SplitTiles() { GiveBackTiles(); }

void SplitTiles::TakeRows(const float* x, int64_t stride, int64_t rows, int64_t depth) {
  if (x == x_ && rows == count_ && depth == depth_) return;
  x_ = x;
  count_ = rows;
  depth_ = depth;
  steps_ = DivideUp(depth, kStep);
  for (int64_t r = 0; r < rows; r += kSide) {
    SplitRows(x + r * stride, stride, rows - r, depth, rows_ + r * steps_ * kParts * kStep);
  }
}

void SplitTiles::Multiply(const Panel& panel) {
  SplitPanel(panel.data, depth_, panel_);
  const int64_t lines = DivideUp(depth_ * kColumns / kLine, DivideUp(count_, 2 * kSide) * steps_);
  const float* fetch = panel.next;
  for (int64_t r = 0; r < count_; r += 2 * kSide, fetch += lines * steps_ * kLine) {
    const uint16_t* const upper = rows_ + r * steps_ * kParts * kStep;
    const auto multiply = r + kSide < count_ ? MultiplyTiles<true> : MultiplyTiles<false>;
    multiply(upper, upper + steps_ * kParts * kTile, panel_, steps_, fetch, lines, sums_);
    StoreSums(sums_, panel, panel.out + r * panel.out_stride, std::min(count_ - r, 2 * kSide));
  }
}

}  // namespace embedd

#else

namespace embedd {

bool SplitTiles::Available() { return false; }
SplitTiles::SplitTiles(void*) : rows_(nullptr), panel_(nullptr), sums_(nullptr) {}
SplitTiles::~SplitTiles() = default;
void SplitTiles::TakeRows(const float*, int64_t, int64_t, int64_t) {}
void SplitTiles::Multiply(const Panel&) {}

}  // namespace embedd

#endif
