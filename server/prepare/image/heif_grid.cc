// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/heif_grid.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

absl::Status Corrupt(ImageFormat format, absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat(ImageFormatName(format), ": ", what));
}

int64_t Halved(int64_t side, int shift) { return (side + (1 << shift) - 1) >> shift; }

}  // namespace

void HeifCanvas::Begin(const YuvPlanes& tile, int64_t width, int64_t height) {
  tile_width = tile.width;
  tile_height = tile.height;
  yuv = tile;
  yuv.width = width;
  yuv.height = height;
  for (int i = 0; i < 3 && tile.plane[i] != nullptr; ++i) {
    const int64_t columns = i == 0 ? width : Halved(width, tile.chroma_shift_x);
    const int64_t rows = i == 0 ? height : Halved(height, tile.chroma_shift_y);
    yuv.stride[i] = columns * (tile.bits > 8 ? 2 : 1);
    plane[i].resize(static_cast<size_t>(yuv.stride[i] * rows));
    yuv.plane[i] = plane[i].data();
  }
}

bool HeifCanvas::Fits(const YuvPlanes& tile) const {
  return tile.width == tile_width && tile.height == tile_height && tile.bits == yuv.bits &&
         (tile.plane[1] == nullptr) == (yuv.plane[1] == nullptr) &&
         tile.chroma_shift_x == yuv.chroma_shift_x && tile.chroma_shift_y == yuv.chroma_shift_y;
}

void HeifCanvas::Copy(const YuvPlanes& tile, int column, int row) {
  const int64_t bytes = tile.bits > 8 ? 2 : 1;
  for (int i = 0; i < 3 && tile.plane[i] != nullptr; ++i) {
    const int shift_x = i == 0 ? 0 : tile.chroma_shift_x, shift_y = i == 0 ? 0 : tile.chroma_shift_y;
    const int64_t x = column * tile.width >> shift_x, y = row * tile.height >> shift_y;
    const int64_t columns = std::min(Halved(tile.width, shift_x), Halved(yuv.width, shift_x) - x);
    const int64_t rows = std::min(Halved(tile.height, shift_y), Halved(yuv.height, shift_y) - y);
    for (int64_t r = 0; r < rows && columns > 0; ++r) {
      std::memcpy(plane[i].data() + (y + r) * yuv.stride[i] + x * bytes, tile.plane[i] + r * tile.stride[i],
                  static_cast<size_t>(columns * bytes));
    }
  }
}

absl::Status ForEachHeifTile(const HeifFile& heif, const ImageHeader& header, uint8_t* rgb,
                             const HeifTileDecoder& decode) {
  HeifCanvas canvas;
  HeifTile tile{
      .format = header.format, .width = header.width, .height = header.height, .canvas = &canvas, .rgb = rgb};
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
      if (tile.column * canvas.tile_width >= header.width || tile.row * canvas.tile_height >= header.height)
        continue;
      std::string joined;
      const absl::StatusOr<absl::string_view> data = heif.Bytes(*item, &joined);
      if (!data.ok()) return data.status();
      HeifItem described = *item;
      if (primary.color.matrix >= 0) described.color = primary.color;
      if (absl::Status status = decode(*data, described, tile); !status.ok()) return status;
    }
  }
  if (grid) YuvToRgb(canvas.yuv, header.width, header.height, rgb, 3 * header.width);
  return absl::OkStatus();
}

absl::Status PlaceHeifTile(const HeifFile& heif, const YuvPlanes& yuv, const HeifTile& tile) {
  const absl::Status contradiction = Corrupt(tile.format, "the header contradicts itself about the size");
  if (!heif.is_grid()) {
    if (yuv.width != tile.width || yuv.height != tile.height) return contradiction;
    YuvToRgb(yuv, tile.width, tile.height, tile.rgb, 3 * tile.width);
    return absl::OkStatus();
  }
  HeifCanvas& canvas = *tile.canvas;
  if (canvas.tile_width == 0) {
    if (yuv.width * heif.grid().columns < tile.width || yuv.height * heif.grid().rows < tile.height)
      return contradiction;
    canvas.Begin(yuv, tile.width, tile.height);
  } else if (!canvas.Fits(yuv)) {
    return Corrupt(tile.format, "tiles of different kinds");
  }
  canvas.Copy(yuv, tile.column, tile.row);
  return absl::OkStatus();
}

}  // namespace embedd
