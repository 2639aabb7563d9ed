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
  int64_t width = 0, height = 0;  // of the whole picture
  HeifCanvas* canvas = nullptr;
  uint8_t* rgb = nullptr;  // of the whole picture
};

using HeifTileDecoder =
    std::function<absl::Status(absl::string_view data, const HeifItem& item, const HeifTile& tile)>;

// Calls `decode` for each tile of the primary picture, row by row, with its coded bytes and the item that
// says how its colours are meant. Stops at the first error.
absl::Status ForEachHeifTile(const HeifFile& heif, const ImageHeader& header, uint8_t* rgb,
                             const HeifTileDecoder& decode);

// Takes the planes of a decoded tile to where they belong. CORRUPT_IMAGE when its size leaves pixels out.
absl::Status PlaceHeifTile(const HeifFile& heif, const YuvPlanes& yuv, const HeifTile& tile);

}  // namespace embedd
