// SPDX-License-Identifier: Apache-2.0
//
// Preprocess: RGB pixels of any size in, the uint8 input of the image tower out, byte for byte what Pillow
// and open_clip's transform compute (before ToTensor and Normalize, which the executor does). Pure functions,
// and one class for rows that come one after the other; thread-safe, RowPreprocessor for one thread at a
// time.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "server/model/model_spec.h"
#include "server/prepare/image/pil_resample.h"

namespace embedd {

// Writes uint8 [3, spec.height, spec.width], planar R, G, B, to `out`; uint32 where spec.resize_kind is
// kFloat. Of ResizeMode::kPatches a PatchGrid, and planes of its patches behind it. At most spec.bytes().
//   rgb  RGB8 [height, width, 3], rows top to bottom, no padding; width and height at least 1
// Cost and memory are bounded by the source and the target: only the rows and columns that survive the crop
// are computed, so a 3000x10 image makes no 67200x224 intermediate.
void Preprocess(const uint8_t* rgb, int width, int height, const ImageSpec& spec, uint8_t* out);

// Pixels of a picture, from its top left corner.
struct PixelRegion {
  int x = 0, y = 0, width = 0, height = 0;
};

// The pixels of a picture of width x height that Preprocess reads for `spec`; it may name more, never fewer.
// A decoder need not make the others.
PixelRegion PixelsNeeded(int width, int height, const ImageSpec& spec);

// Pixels along a side when `shrink` (1, 2, 4 or 8) of them become one.
inline int64_t ShrunkSide(int64_t side, int shrink) { return (side + shrink - 1) / shrink; }

// The largest of 1, 2, 4 and 8 that leaves at least twice the pixels that the resize keeps along each side.
int ShrinkFor(int width, int height, const ImageSpec& spec);

// A picture whose decoder left out resolution: each side has ShrunkSide pixels.
struct PictureSize {
  int width = 0, height = 0;  // of the whole
  int shrink = 1;

  int rows() const { return static_cast<int>(ShrunkSide(height, shrink)); }
  int columns() const { return static_cast<int>(ShrunkSide(width, shrink)); }
};

// The same for such a picture, which is cut out as the whole one would be.
void Preprocess(const uint8_t* rgb, const PictureSize& size, const ImageSpec& spec, uint8_t* out);

// The same for a picture whose rows come from the top down, a few at a time, so that it need never lie in
// memory as a whole.
class RowPreprocessor {
 public:
  // Bytes behind the last row that may be read; their values are not used.
  static constexpr int64_t kReadSlack = 16;

  // Null where rows alone are not enough: the resize in floats, and the rare shape of which Pillow 13 takes
  // the columns first.
  static std::unique_ptr<RowPreprocessor> Create(const PictureSize& size, const ImageSpec& spec,
                                                 uint8_t* out);

  // Rows [y, y + count), each next to the other, in order. Those above and below PixelsNeeded may be left
  // out. The output is complete when the last one that is needed was added.
  void Add(const uint8_t* rgb, int64_t y, int64_t count);

 private:
  RowPreprocessor(const PictureSize& size, const PilTarget& target, const PilPlanes& out)
      : width_(size.columns()), target_(target), out_(out) {}

  const int64_t width_;
  const PilTarget target_;
  const PilPlanes out_;
  std::optional<PilRows> resample_;  // none where the size stays
};

}  // namespace embedd
