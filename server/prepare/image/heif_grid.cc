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

namespace {

// Hands the tiles of `item` to `decode`.
absl::Status DecodeTiles(const HeifFile& heif, const HeifItem& item, const HeifTileDecoder& decode,
                         HeifTile tile) {
  for (tile.row = 0; tile.row < tile.grid.rows; ++tile.row) {
    for (tile.column = 0; tile.column < tile.grid.columns; ++tile.column) {
      const size_t number = static_cast<size_t>(tile.row) * tile.grid.columns + tile.column;
      const HeifItem* part = item.type == "grid" ? heif.Find(item.tiles[number]) : &item;
      if (part == nullptr) return Corrupt(tile.format, "a tile of the grid is missing");
      // A tile that lies wholly outside holds no pixels.
      if (tile.canvas != nullptr && (tile.column * tile.canvas->tile_width >= tile.grid.width ||
                                     tile.row * tile.canvas->tile_height >= tile.grid.height)) {
        continue;
      }
      std::string joined;
      const absl::StatusOr<absl::string_view> data = heif.Bytes(*part, &joined);
      if (!data.ok()) return data.status();
      HeifItem described = *part;
      if (item.color.matrix >= 0) described.color = item.color;
      described.alpha = item.alpha;
      if (absl::Status status = decode(*data, described, tile); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status DecodeAlpha(const HeifFile& heif, const ImageHeader& header, const HeifTileDecoder& decode,
                         HeifCanvas* alpha) {
  const HeifItem* item = heif.Find(heif.primary().alpha);
  if (item == nullptr) return Corrupt(header.format, "the alpha of the picture is missing");
  const absl::StatusOr<HeifGrid> grid = heif.GridOf(*item);
  if (!grid.ok()) return grid.status();
  if (grid->width != header.width || grid->height != header.height)
    return Corrupt(header.format, "its alpha is of another size");
  return DecodeTiles(heif, *item, decode, {.format = header.format, .grid = *grid, .canvas = alpha});
}

absl::Status Paint(const YuvPlanes& planes, const HeifTile& tile) {
  YuvPlanes yuv = planes;
  if (tile.alpha != nullptr) {
    if (tile.alpha->yuv.bits != yuv.bits) return Corrupt(tile.format, "its alpha is of another depth");
    yuv.alpha = tile.alpha->yuv.plane[0];
    yuv.alpha_stride = tile.alpha->yuv.stride[0];
  }
  YuvToRgb(yuv, tile.grid.width, tile.grid.height, tile.rgb, 3 * tile.grid.width);
  return absl::OkStatus();
}

}  // namespace

absl::Status PaintHeif(const HeifFile& heif, const ImageHeader& header, uint8_t* rgb,
                       const HeifTileDecoder& decode) {
  const HeifItem& primary = heif.primary();
  const absl::StatusOr<HeifGrid> grid = heif.GridOf(primary);
  if (!grid.ok()) return grid.status();
  HeifCanvas canvas, alpha;
  HeifTile tile{.format = header.format, .grid = *grid, .rgb = rgb};
  if (primary.type == "grid") tile.canvas = &canvas;
  if (primary.multiplied_by != 0 && primary.multiplied_by == primary.alpha) {
    if (header.format != ImageFormat::kAvif) {
      return DecodeError(
          Reason::kUnsupportedFormat,
          absl::StrCat(ImageFormatName(header.format),
                       " with colours that are multiplied by alpha is not supported; save it without"));
    }
    if (absl::Status status = DecodeAlpha(heif, header, decode, &alpha); !status.ok()) return status;
    tile.alpha = &alpha;
  }
  if (absl::Status status = DecodeTiles(heif, primary, decode, tile); !status.ok()) return status;
  return tile.canvas != nullptr ? Paint(canvas.yuv, tile) : absl::OkStatus();
}

absl::Status PlaceHeifTile(const YuvPlanes& planes, const HeifTile& tile) {
  YuvPlanes yuv = planes;
  if (tile.rgb == nullptr) yuv.plane[1] = yuv.plane[2] = nullptr;  // alpha is luma alone
  const absl::Status contradiction = Corrupt(tile.format, "the header contradicts itself about the size");
  const HeifGrid& grid = tile.grid;
  if (grid.rows * grid.columns == 1 && tile.canvas == nullptr) {
    return yuv.width == grid.width && yuv.height == grid.height ? Paint(yuv, tile) : contradiction;
  }
  HeifCanvas& canvas = *tile.canvas;
  if (canvas.tile_width == 0) {
    if (yuv.width * grid.columns < grid.width || yuv.height * grid.rows < grid.height) return contradiction;
    canvas.Begin(yuv, grid.width, grid.height);
  } else if (!canvas.Fits(yuv)) {
    return Corrupt(tile.format, "tiles of different kinds");
  }
  canvas.Copy(yuv, tile.column, tile.row);
  return absl::OkStatus();
}

}  // namespace embedd
