// SPDX-License-Identifier: Apache-2.0
//
// What AVIF and HEIC share about a picture made of tiles: which tile lies where, and the size that each must
// have. Called by their decoders; a picture of one piece is a grid of one tile.

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "server/prepare/image/heif_container.h"
#include "server/prepare/image/image_header.h"
#include "server/prepare/image/yuv_to_rgb.h"

namespace embedd {

// The planes of a grid. Tiles are put together before they become RGB: chroma is interpolated across their
// edges.
struct HeifCanvas {
  YuvPlanes yuv;  // of the whole picture; as the first tile, which all others must be like
  int64_t tile_width = 0, tile_height = 0;  // 0 before the first tile
  std::vector<uint8_t> plane[3];

  void Begin(const YuvPlanes& tile, int64_t width, int64_t height);
  bool Fits(const YuvPlanes& tile) const;
  void Copy(const YuvPlanes& tile, int column, int row);
};

struct HeifTile {
  int row = 0, column = 0;
  ImageFormat format = ImageFormat::kAvif;
  HeifGrid grid;                      // that it is part of
  HeifCanvas* canvas = nullptr;       // where it goes; null: it is the whole picture, and painted at once
  const HeifCanvas* alpha = nullptr;  // that divides the colours; null: none
  uint8_t* rgb = nullptr;             // of the whole picture; null for its alpha
};

using HeifTileDecoder =
    std::function<absl::Status(absl::string_view data, const HeifItem& item, const HeifTile& tile)>;

// Paints the primary picture. Calls `decode` for each of its tiles, row by row, and before them for those of
// the alpha that its colours are multiplied by, with the coded bytes and the item that says how they are
// meant; it decodes them and calls PlaceHeifTile. Stops at the first error.
absl::Status PaintHeif(const HeifFile& heif, const ImageHeader& header, uint8_t* rgb,
                       const HeifTileDecoder& decode);

// Takes the planes of a decoded tile to where they belong. CORRUPT_IMAGE when its size leaves pixels out.
absl::Status PlaceHeifTile(const YuvPlanes& planes, const HeifTile& tile);

}  // namespace embedd
