// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of PilResample, one set per instruction set. All sets give equal bytes; the portable one is
// the reference, and the tests compare the others with it. Chosen once, by what the processor says it can do.

#pragma once

#include <cstdint>

#include "server/prepare/image/pil_axis.h"

namespace embedd {

struct PilKernels {
  // Rows that `horizontal` takes at once: they share the loads of the weights.
  static constexpr int kRows = 4;
  // Bytes past the last sample that `horizontal` may read from a row (value unused), and may write to an
  // output row.
  static constexpr int kReadSlack = 4;
  static constexpr int kWriteSlack = 1;

  const char* name;

  // Filters kRows rows of RGB8 along x.
  //   in   in[r] points at sample axis.origin(); 3 * axis.reach() + kReadSlack bytes are readable
  //   out  out[r] takes 3 * axis.count() + kWriteSlack bytes
  void (*horizontal)(const uint8_t* const* in, const PilAxis& axis, uint8_t* const* out);

  // Filters one output row along y, output i of `axis`: out[j] = filter of in[t * stride + j], j in [0,
  // bytes).
  //   in  the row of tap 0
  void (*vertical)(const uint8_t* in, int64_t stride, const PilAxis& axis, int i, int64_t bytes,
                   uint8_t* out);

  // Splits `width` RGB8 pixels into three planes.
  void (*planar)(const uint8_t* rgb, int width, uint8_t* r, uint8_t* g, uint8_t* b);
};

const PilKernels& PortablePilKernels();
// Null where this build or this processor has none.
const PilKernels* Avx2PilKernels();
// The fastest of those that run here.
const PilKernels& BestPilKernels();

}  // namespace embedd
