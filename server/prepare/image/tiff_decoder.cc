// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/tiff_decoder.h"

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/lab_to_rgb.h"
#include "server/prepare/image/tiff_samples.h"
#include "server/prepare/image/zlib_stream.h"

namespace embedd {
namespace {

constexpr absl::string_view kDamaged = "the image data is damaged or cut short";
// No piece that the library allocates at once may be larger: a strip of the largest picture that --max-pixels
// allows.
constexpr tmsize_t kMostMemory = tmsize_t{1} << 30;

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("TIFF: ", what));
}

absl::Status Unsupported(absl::string_view what) {
  return DecodeError(Reason::kUnsupportedFormat,
                     absl::StrCat("a TIFF with ", what, " is not supported; save it as 8-bit RGB or grey"));
}

// The file in memory, as the library wants to read it, and what the library said about this file.
struct Source {
  absl::string_view file;
  uint64_t at = 0;
  bool lost_pixels = false;
  bool no_memory = false;
};

tmsize_t OnRead(thandle_t handle, void* to, tmsize_t size) {
  auto* source = static_cast<Source*>(handle);
  if (source->at >= source->file.size() || size <= 0) return 0;
  const size_t count =
      std::min(static_cast<size_t>(size), source->file.size() - static_cast<size_t>(source->at));
  std::memcpy(to, source->file.data() + source->at, count);
  source->at += count;
  return static_cast<tmsize_t>(count);
}

tmsize_t OnWrite(thandle_t, void*, tmsize_t) { return 0; }

toff_t OnSeek(thandle_t handle, toff_t offset, int whence) {
  auto* source = static_cast<Source*>(handle);
  source->at = whence == SEEK_SET   ? offset
               : whence == SEEK_CUR ? source->at + offset
                                    : source->file.size() + offset;
  return source->at;
}

int OnClose(thandle_t) { return 0; }
toff_t OnSize(thandle_t handle) { return static_cast<Source*>(handle)->file.size(); }

int OnError(TIFF*, void* user, const char*, const char* format, va_list) {
  auto* source = static_cast<Source*>(user);
  source->no_memory |= absl::StrContains(format, "ut of memory") || absl::StrContains(format, "o space");
  return 1;
}

// The decoder of fax codings goes on after any damage, and that of JPEG as libjpeg does: the words of a
// warning are all that says so.
int OnWarning(TIFF*, void* user, const char* module, const char* format, va_list arguments) {
  auto* source = static_cast<Source*>(user);
  if (module != nullptr && absl::StartsWith(module, "Fax")) source->lost_pixels = true;
  if (module != nullptr && absl::StartsWith(module, "JPEG")) {
    char text[256];
    std::vsnprintf(text, sizeof text, format, arguments);
    for (const absl::string_view lost : {"remature end", "bad Huffman code", "arithmetic", "instead of RST"})
      source->lost_pixels |= absl::StrContains(text, lost);
  }
  return 1;
}

struct Close {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
using Tiff = std::unique_ptr<TIFF, Close>;

Tiff Open(Source* source) {
  TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
  if (options == nullptr) return nullptr;
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, kMostMemory);
  TIFFOpenOptionsSetErrorHandlerExtR(options, OnError, source);
  TIFFOpenOptionsSetWarningHandlerExtR(options, OnWarning, source);
  // m: the library reads through the functions below and maps nothing.
  Tiff tiff(TIFFClientOpenExt("request", "rm", source, OnRead, OnWrite, OnSeek, OnClose, OnSize, nullptr,
                              nullptr, options));
  TIFFOpenOptionsFree(options);
  return tiff;
}

template <typename T>
T Field(TIFF* tiff, ttag_t tag, T otherwise) {
  T value = otherwise;
  return TIFFGetFieldDefaulted(tiff, tag, &value) == 1 ? value : otherwise;
}

// What the tags say about the samples.
absl::StatusOr<TiffLayout> ReadLayout(TIFF* tiff, uint16_t compression) {
  TiffLayout layout;
  layout.width = Field<uint32_t>(tiff, TIFFTAG_IMAGEWIDTH, 0);
  layout.height = Field<uint32_t>(tiff, TIFFTAG_IMAGELENGTH, 0);
  layout.bits = Field<uint16_t>(tiff, TIFFTAG_BITSPERSAMPLE, 1);
  layout.samples = Field<uint16_t>(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
  layout.format = Field<uint16_t>(tiff, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
  layout.planar = Field<uint16_t>(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) == PLANARCONFIG_SEPARATE;
  layout.photometric = compression == COMPRESSION_OJPEG
                           ? uint16_t{PHOTOMETRIC_YCBCR}
                           : Field<uint16_t>(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISWHITE);
  uint16_t extra = 0;
  uint16_t* kinds = nullptr;
  if (TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds) == 1 && extra > 0) {
    layout.extra = extra;
    layout.premultiplied = kinds[0] == EXTRASAMPLE_ASSOCALPHA;
  }
  uint16_t across = 1, down = 1;
  layout.subsampled = TIFFGetFieldDefaulted(tiff, TIFFTAG_YCBCRSUBSAMPLING, &across, &down) == 1 &&
                      (across != 1 || down != 1);
  if (layout.photometric == PHOTOMETRIC_PALETTE) {
    uint16_t *red = nullptr, *green = nullptr, *blue = nullptr;
    if (layout.bits > 8 || TIFFGetField(tiff, TIFFTAG_COLORMAP, &red, &green, &blue) != 1)
      return Corrupt("the palette is missing");
    for (size_t i = 0; i < size_t{1} << layout.bits; ++i) {
      layout.palette[i] = {static_cast<uint8_t>(red[i] >> 8), static_cast<uint8_t>(green[i] >> 8),
                           static_cast<uint8_t>(blue[i] >> 8)};
    }
  }
  return layout;
}

// Rows of a picture of strips, one plane after the other where samples lie apart. The library decodes row by
// row, so a strip as large as the picture costs nothing.
absl::Status ReadStrips(TIFF* tiff, const Source& source, const TiffLayout& layout, uint8_t* rgb) {
  const tmsize_t row_bytes = TIFFScanlineSize(tiff);
  if (row_bytes < layout.RowBytes(layout.width)) return source.no_memory ? NoHostMemory() : Corrupt(kDamaged);
  std::vector<uint8_t> row(static_cast<size_t>(row_bytes));
  TiffPainter painter(layout);
  for (uint16_t plane = 0; plane < layout.PlanesRead(); ++plane) {
    for (uint32_t y = 0; y < layout.height; ++y) {
      if (TIFFReadScanline(tiff, row.data(), y, plane) != 1 || source.lost_pixels)
        return source.no_memory ? NoHostMemory() : Corrupt(kDamaged);
      painter.Paint(row.data(), plane, layout.width, rgb + size_t{3} * y * layout.width);
    }
  }
  return absl::OkStatus();
}

// Some writers let runs of PackBits go on from row to row, which the library follows only within one call.
absl::Status ReadWholeStrips(TIFF* tiff, const Source& source, const TiffLayout& layout, uint8_t* rgb) {
  const tmsize_t row_bytes = TIFFScanlineSize(tiff);
  const uint32_t rows = std::min(Field<uint32_t>(tiff, TIFFTAG_ROWSPERSTRIP, layout.height), layout.height);
  if (row_bytes < layout.RowBytes(layout.width) || rows == 0) return Corrupt(kDamaged);
  std::vector<uint8_t> strip(static_cast<size_t>(row_bytes) * rows);
  TiffPainter painter(layout);
  for (uint16_t plane = 0; plane < layout.PlanesRead(); ++plane) {
    for (uint32_t y = 0; y < layout.height; y += rows) {
      const uint32_t count = std::min(rows, layout.height - y);
      const tmsize_t wanted = row_bytes * count;
      if (TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, plane), strip.data(), wanted) != wanted)
        return source.no_memory ? NoHostMemory() : Corrupt(kDamaged);
      for (uint32_t i = 0; i < count; ++i) {
        painter.Paint(strip.data() + i * row_bytes, plane, layout.width,
                      rgb + size_t{3} * (y + i) * layout.width);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTiles(TIFF* tiff, const Source& source, const TiffLayout& layout, uint8_t* rgb) {
  const auto width = Field<uint32_t>(tiff, TIFFTAG_TILEWIDTH, 0);
  const auto height = Field<uint32_t>(tiff, TIFFTAG_TILELENGTH, 0);
  if (width == 0 || height == 0) return Corrupt("tiles without a size");
  // A tile may be larger than a small picture, but not much: all of it is memory.
  constexpr uint64_t kAlwaysAllowed = uint64_t{1} << 22;
  if (uint64_t{width} * height > std::max(kAlwaysAllowed, 2 * uint64_t{layout.width} * layout.height)) {
    return DecodeError(Reason::kImageTooLarge, absl::StrCat("TIFF: its tiles are ", width, "x", height,
                                                            ", far larger than the picture"));
  }
  const tmsize_t bytes = TIFFTileSize(tiff);
  const tmsize_t row_bytes = TIFFTileRowSize(tiff);
  if (bytes <= 0 || row_bytes < layout.RowBytes(width) || bytes / row_bytes < static_cast<tmsize_t>(height))
    return Corrupt(kDamaged);
  std::vector<uint8_t> tile(static_cast<size_t>(bytes));
  TiffPainter painter(layout);
  for (uint16_t plane = 0; plane < layout.PlanesRead(); ++plane) {
    for (uint32_t y = 0; y < layout.height; y += height) {
      for (uint32_t x = 0; x < layout.width; x += width) {
        const uint32_t number = TIFFComputeTile(tiff, x, y, 0, plane);
        if (TIFFReadEncodedTile(tiff, number, tile.data(), bytes) != bytes || source.lost_pixels)
          return source.no_memory ? NoHostMemory() : Corrupt(kDamaged);
        const uint32_t rows = std::min(height, layout.height - y);
        for (uint32_t i = 0; i < rows; ++i) {
          painter.Paint(tile.data() + i * row_bytes, plane, std::min(width, layout.width - x),
                        rgb + 3 * (uint64_t{y + i} * layout.width + x));
        }
      }
    }
  }
  return absl::OkStatus();
}

// Luma and chroma of other codings than JPEG: the library mixes them.
absl::Status ReadMixed(TIFF* tiff, const Source& source, const TiffLayout& layout, uint8_t* rgb) {
  char message[1024];
  TIFFRGBAImage image;
  if (TIFFRGBAImageOK(tiff, message) == 0 || TIFFRGBAImageBegin(&image, tiff, 1, message) == 0)
    return Unsupported("colours of this kind");
  image.req_orientation = ORIENTATION_TOPLEFT;
  image.orientation = ORIENTATION_TOPLEFT;
  std::vector<uint32_t> raster;
  int ok = 0;
  try {
    raster.resize(size_t{layout.width} * layout.height);
    ok = TIFFRGBAImageGet(&image, raster.data(), layout.width, layout.height);
  } catch (const std::bad_alloc&) {
    TIFFRGBAImageEnd(&image);
    return NoHostMemory();
  }
  TIFFRGBAImageEnd(&image);
  if (ok == 0 || source.lost_pixels) return source.no_memory ? NoHostMemory() : Corrupt(kDamaged);
  for (const uint32_t pixel : raster) {
    rgb[0] = static_cast<uint8_t>(TIFFGetR(pixel));
    rgb[1] = static_cast<uint8_t>(TIFFGetG(pixel));
    rgb[2] = static_cast<uint8_t>(TIFFGetB(pixel));
    rgb += 3;
  }
  return absl::OkStatus();
}

// The library stops at the last pixel of a strip or tile and does not look at the checksum behind it.
absl::Status CheckDeflated(TIFF* tiff, absl::string_view file, const TiffLayout& layout) {
  const bool tiled = TIFFIsTiled(tiff) != 0;
  const uint32_t pieces = tiled ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
  const auto rows_per_strip =
      std::min(Field<uint32_t>(tiff, TIFFTAG_ROWSPERSTRIP, layout.height), layout.height);
  const uint32_t strips_per_plane = rows_per_strip == 0 ? 0 : (layout.height - 1) / rows_per_strip + 1;
  if (!tiled && strips_per_plane == 0) return Corrupt(kDamaged);
  std::vector<uint8_t> rest(size_t{1} << 16);
  for (uint32_t i = 0; i < pieces; ++i) {
    const uint64_t offset = TIFFGetStrileOffset(tiff, i), length = TIFFGetStrileByteCount(tiff, i);
    if (offset > file.size() || length > file.size() - offset) return Corrupt(kDamaged);
    const uint32_t first = tiled ? 0 : i % strips_per_plane * rows_per_strip;
    int64_t left = tiled ? TIFFTileSize(tiff)
                         : TIFFScanlineSize(tiff) * int64_t{std::min(rows_per_strip, layout.height - first)};
    const std::vector<ZlibPiece> piece = {
        {file.substr(static_cast<size_t>(offset), static_cast<size_t>(length))}};
    ZlibStream stream(piece, ImageFormat::kTiff);
    if (absl::Status status = stream.Open(); !status.ok()) return status;
    while (left > 0) {
      const size_t wanted = std::min<size_t>(rest.size(), static_cast<size_t>(left));
      if (stream.Read(rest.data(), wanted) != wanted) return stream.Missing();
      left -= static_cast<int64_t>(wanted);
    }
    if (absl::Status status = stream.Check(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ReadSamples(TIFF* tiff, const Source& source, const TiffLayout& layout, uint16_t compression,
                         uint8_t* rgb) {
  if (layout.photometric == PHOTOMETRIC_YCBCR && layout.samples >= 3 && compression != COMPRESSION_JPEG &&
      compression != COMPRESSION_NONE) {
    return ReadMixed(tiff, source, layout, rgb);
  }
  if (TIFFIsTiled(tiff) == 0 && compression == COMPRESSION_PACKBITS)
    return ReadWholeStrips(tiff, source, layout, rgb);
  return TIFFIsTiled(tiff) != 0 ? ReadTiles(tiff, source, layout, rgb)
                                : ReadStrips(tiff, source, layout, rgb);
}

absl::Status ReadPage(TIFF* tiff, const Source& source, const TiffLayout& layout, uint16_t compression,
                      uint8_t* rgb) {
  absl::Status status = ReadSamples(tiff, source, layout, compression, rgb);
  if (!status.ok() || layout.photometric != PHOTOMETRIC_CIELAB) return status;
  // In planes of their own Pillow takes a* and b* as they are.
  return LabToRgb(rgb, int64_t{layout.width} * layout.height, !layout.planar);
}

}  // namespace

absl::Status DecodeTiff(absl::string_view file, const ImageHeader& header, uint8_t* rgb) {
  Source source{.file = file};
  const Tiff tiff = Open(&source);
  if (tiff == nullptr)
    return source.no_memory ? NoHostMemory() : Corrupt("the directory is damaged or cut short");
  const auto compression = Field<uint16_t>(tiff.get(), TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  if (TIFFIsCODECConfigured(compression) == 0) return Unsupported("this compression");
  absl::StatusOr<TiffLayout> layout = ReadLayout(tiff.get(), compression);
  if (!layout.ok()) return layout.status();
  const bool turned = header.orientation >= 5;
  if (layout->width != (turned ? header.height : header.width) ||
      layout->height != (turned ? header.width : header.height)) {
    return Corrupt("the header contradicts itself about the size");
  }
  if (compression == COMPRESSION_JPEG && layout->photometric == PHOTOMETRIC_YCBCR && !layout->planar) {
    TIFFSetField(tiff.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    layout->photometric = PHOTOMETRIC_RGB;
  }
  const bool big_endian = file[0] == 'M';
  if (!layout->Readable(big_endian, compression != COMPRESSION_NONE))
    return Unsupported("samples of this kind");
  const bool deflated = compression == COMPRESSION_ADOBE_DEFLATE || compression == COMPRESSION_DEFLATE;
  if (deflated && Field<uint16_t>(tiff.get(), TIFFTAG_FILLORDER, FILLORDER_MSB2LSB) == FILLORDER_MSB2LSB) {
    if (absl::Status status = CheckDeflated(tiff.get(), file, *layout); !status.ok()) return status;
  }
  if (header.orientation == 1) return ReadPage(tiff.get(), source, *layout, compression, rgb);

  std::vector<uint8_t> stored(static_cast<size_t>(3 * header.pixels()));
  absl::Status status = ReadPage(tiff.get(), source, *layout, compression, stored.data());
  if (status.ok()) TurnPixels(stored.data(), layout->width, layout->height, header.orientation, rgb);
  return status;
}

std::string TiffVersion() {
  // "LIBTIFF, Version 4.5.0" and a copyright.
  const std::vector<std::string> words = absl::StrSplit(TIFFGetVersion(), absl::ByAnyChar(" \n"));
  return words.size() > 2 ? words[2] : "unknown";
}

}  // namespace embedd
