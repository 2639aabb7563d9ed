// SPDX-License-Identifier: Apache-2.0
//
// PatchGrid: rows and columns of the patches of an image, in models that take images of any shape
// (ResizeMode::kPatches). A prepared image of theirs begins with it; then come planar bytes [3, rows * patch,
// columns * patch], and what is left of its memory is not used. Plain data.

#pragma once

#include <cstdint>
#include <cstring>

namespace embedd {

struct PatchGrid {
  static constexpr int64_t kBytes = 4;  // in front of the pixels

  int rows = 1;
  int columns = 1;

  int64_t count() const { return int64_t{rows} * columns; }

  void Write(uint8_t* image) const {
    const uint16_t sides[] = {static_cast<uint16_t>(rows), static_cast<uint16_t>(columns)};
    std::memcpy(image, sides, kBytes);
  }
  static PatchGrid Read(const uint8_t* image) {
    uint16_t sides[2];
    std::memcpy(sides, image, kBytes);
    return {sides[0], sides[1]};
  }
};

}  // namespace embedd
