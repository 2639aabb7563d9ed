// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/heif_grid.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

absl::Status Corrupt(ImageFormat format, absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat(ImageFormatName(format), ": ", what));
}

}  // namespace

absl::Status ForEachHeifTile(const HeifFile& heif, const ImageHeader& header, uint8_t* rgb,
                             const HeifTileDecoder& decode) {
  int64_t tile_width = 0, tile_height = 0;
  HeifTile tile{.format = header.format,
                .width = header.width,
                .height = header.height,
                .tile_width = &tile_width,
                .tile_height = &tile_height,
                .rgb = rgb};
  const bool grid = heif.is_grid();
  const int rows = grid ? heif.grid().rows : 1;
  const int columns = grid ? heif.grid().columns : 1;
  const HeifItem& primary = heif.primary();
  if (primary.premultiplied) {
    return DecodeError(
        Reason::kUnsupportedFormat,
        absl::StrCat(ImageFormatName(header.format),
                     " with colours that are multiplied by alpha is not supported; save it without"));
  }
  for (tile.row = 0; tile.row < rows; ++tile.row) {
    for (tile.column = 0; tile.column < columns; ++tile.column) {
      const HeifItem* item =
          grid ? heif.Find(primary.tiles[static_cast<size_t>(tile.row) * columns + tile.column]) : &primary;
      if (item == nullptr) return Corrupt(header.format, "a tile of the grid is missing");
      // A tile that lies wholly outside holds no pixels.
      if (tile.column * tile_width >= header.width || tile.row * tile_height >= header.height) continue;
      std::string joined;
      const absl::StatusOr<absl::string_view> data = heif.Bytes(*item, &joined);
      if (!data.ok()) return data.status();
      HeifItem described = *item;
      if (primary.color.matrix >= 0) described.color = primary.color;
      if (absl::Status status = decode(*data, described, tile); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status PlaceHeifTile(const HeifFile& heif, const YuvPlanes& yuv, const HeifTile& tile) {
  if (*tile.tile_width == 0) {
    *tile.tile_width = yuv.width;
    *tile.tile_height = yuv.height;
    const bool fits = heif.is_grid() ? yuv.width * heif.grid().columns >= tile.width &&
                                           yuv.height * heif.grid().rows >= tile.height
                                     : yuv.width == tile.width && yuv.height == tile.height;
    if (!fits) return Corrupt(tile.format, "the header contradicts itself about the size");
  } else if (yuv.width != *tile.tile_width || yuv.height != *tile.tile_height) {
    return Corrupt(tile.format, "tiles of different sizes");
  }
  const int64_t x = tile.column * yuv.width, y = tile.row * yuv.height;
  YuvToRgb(yuv, std::min(yuv.width, tile.width - x), std::min(yuv.height, tile.height - y),
           tile.rgb + 3 * (y * tile.width + x), 3 * tile.width);
  return absl::OkStatus();
}

}  // namespace embedd
