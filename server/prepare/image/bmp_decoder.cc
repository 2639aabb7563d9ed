// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/bmp_decoder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("BMP: ", what));
}

absl::Status Unsupported(absl::string_view what) {
  return DecodeError(Reason::kUnsupportedFormat,
                     absl::StrCat("a BMP with ", what, " is not supported; save it as PNG"));
}

enum Compression : uint32_t { kRaw = 0, kRunLength8 = 1, kRunLength4 = 2, kBitFields = 3 };

// The layouts of masks that Pillow knows, and which byte of a pixel is which colour.
constexpr struct {
  uint32_t r, g, b, a;
  int red, green, blue;
} kMasks32[] = {
    {0xFF0000, 0xFF00, 0xFF, 0, 2, 1, 0},          {0xFF000000, 0xFF0000, 0xFF00, 0, 3, 2, 1},
    {0xFF000000, 0xFF00, 0xFF, 0, 3, 1, 0},        {0xFF000000, 0xFF0000, 0xFF00, 0xFF, 3, 2, 1},
    {0xFF, 0xFF00, 0xFF0000, 0xFF000000, 0, 1, 2}, {0xFF0000, 0xFF00, 0xFF, 0xFF000000, 2, 1, 0},
    {0xFF000000, 0xFF00, 0xFF, 0xFF0000, 3, 1, 0}, {0, 0, 0, 0, 2, 1, 0},
};

absl::Status ReadMasks(absl::string_view s, size_t header_size, BmpHeader* header) {
  constexpr size_t kMasksAt = 14 + 40;  // in the header, or right behind the short one
  if (s.size() < kMasksAt + 16) return Corrupt("the file ends inside its header");
  const uint32_t r = Little32(s, kMasksAt), g = Little32(s, kMasksAt + 4), b = Little32(s, kMasksAt + 8);
  const uint32_t a = header_size >= 56 ? Little32(s, kMasksAt + 12) : 0;
  if (header->bits == 32) {
    for (const auto& known : kMasks32) {
      if (known.r != r || known.g != g || known.b != b || known.a != a) continue;
      header->red = known.red;
      header->green = known.green;
      header->blue = known.blue;
      return absl::OkStatus();
    }
  } else if (header->bits == 24) {
    if (r == 0xFF0000 && g == 0xFF00 && b == 0xFF) return absl::OkStatus();
  } else if (header->bits == 16) {
    header->layout = r == 0xF800 ? BmpHeader::Layout::kRgb565 : BmpHeader::Layout::kRgb555;
    if ((r == 0xF800 && g == 0x7E0 && b == 0x1F) || (r == 0x7C00 && g == 0x3E0 && b == 0x1F))
      return absl::OkStatus();
  }
  return Unsupported("these colour masks");
}

using Colors = std::array<std::array<uint8_t, 3>, 256>;

Colors MakeColors(const BmpHeader& header) {
  Colors colors = {};
  for (size_t i = 0; i < colors.size() && (i + 1) * header.palette_step <= header.palette.size(); ++i) {
    for (size_t c = 0; c < 3; ++c)
      colors[i][c] = static_cast<uint8_t>(header.palette[i * header.palette_step + 2 - c]);
  }
  return colors;
}

uint8_t Scale(uint32_t value, uint32_t most) { return static_cast<uint8_t>(value * 255 / most); }

void ConvertRow(const BmpHeader& header, const Colors& colors, const uint8_t* in, uint8_t* out) {
  const int64_t width = header.width;
  if (header.layout == BmpHeader::Layout::kBytes) {
    const int step = header.bits / 8;
    for (int64_t x = 0; x < width; ++x, in += step, out += 3) {
      out[0] = in[header.red];
      out[1] = in[header.green];
      out[2] = in[header.blue];
    }
    return;
  }
  if (header.layout != BmpHeader::Layout::kPalette) {
    const bool six = header.layout == BmpHeader::Layout::kRgb565;
    for (int64_t x = 0; x < width; ++x, in += 2, out += 3) {
      const uint32_t pixel = in[0] | uint32_t{in[1]} << 8;
      out[0] = Scale(pixel >> (six ? 11 : 10) & 31, 31);
      out[1] = six ? Scale(pixel >> 5 & 63, 63) : Scale(pixel >> 5 & 31, 31);
      out[2] = Scale(pixel & 31, 31);
    }
    return;
  }
  const int bits = header.bits;
  for (int64_t x = 0; x < width; ++x, out += 3) {
    const int64_t bit = x * bits;
    const int index = in[bit / 8] >> (8 - bits - bit % 8) & ((1 << bits) - 1);
    std::memcpy(out, colors[index].data(), 3);
  }
}

// Run lengths, as Pillow reads them: a file that ends early, or skips past its last pixel, leaves pixels out.
bool Unpack(absl::string_view s, const BmpHeader& header, std::vector<uint8_t>* out) {
  const bool four = header.packing == BmpHeader::Packing::kRle4;
  const size_t width = static_cast<size_t>(header.width);
  const size_t total = out->size();
  size_t at = header.data, filled = 0, x = 0;
  const auto put = [&](uint8_t value) {
    if (filled < total) (*out)[filled++] = value;
  };
  while (filled < total) {
    if (at + 2 > s.size()) return false;
    size_t count = Byte(s, at);
    const uint32_t value = Byte(s, at + 1);
    at += 2;
    if (count > 0) {
      if (x + count > width) count = width > x ? width - x : 0;
      for (size_t i = 0; i < count; ++i)
        put(static_cast<uint8_t>(!four ? value : i % 2 == 0 ? value >> 4 : value & 15));
      x += count;
    } else if (value == 0) {
      while (filled % width != 0) put(0);
      x = 0;
    } else if (value == 1) {
      return false;
    } else if (value == 2) {
      if (at + 2 > s.size()) return false;
      const size_t skip = std::min(total - filled, Byte(s, at) + Byte(s, at + 1) * width);
      std::fill_n(out->begin() + static_cast<std::ptrdiff_t>(filled), skip, uint8_t{0});
      at += 2;
      filled += skip;
      x = filled % width;
    } else {
      const size_t pixels = std::min<size_t>(total - filled, value);
      const size_t bytes = four ? (pixels + 1) / 2 : pixels;
      if (bytes > s.size() - at) return false;
      for (size_t i = 0; i < pixels; ++i) {
        const uint32_t byte = Byte(s, at + (four ? i / 2 : i));
        put(static_cast<uint8_t>(!four ? byte : i % 2 == 0 ? byte >> 4 : byte & 15));
      }
      at += bytes;
      x += value;
      at += at % 2;  // to an even place in the file
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<BmpHeader> ReadBmpHeader(absl::string_view s) {
  constexpr absl::string_view kCut = "the file ends inside its header";
  if (s.size() < 26) return Corrupt(kCut);
  BmpHeader header;
  const size_t header_size = Little32(s, 14);
  if (s.size() < 14 + header_size) return Corrupt(kCut);
  size_t end = 14 + header_size;  // where reading goes on
  uint32_t compression = kRaw;
  uint64_t colors = 0;
  if (header_size == 12) {
    header.width = Little16(s, 18);
    header.height = Little16(s, 20);
    header.bits = static_cast<int>(Little16(s, 24));
    header.palette_step = 3;
  } else {
    header.top_down = Byte(s, 25) == 0xFF;
    header.width = Little32(s, 18);
    header.height = Little32(s, 22);
    if (header.top_down) header.height = (int64_t{1} << 32) - header.height;
    header.bits = static_cast<int>(Little16(s, 28));
    compression = Little32(s, 30);
    colors = Little32(s, 46);
  }
  constexpr int64_t kLongestSide = 0x7FFFFFFF;
  if (header.width > kLongestSide || header.height > kLongestSide)
    return Corrupt("a side longer than any picture's");
  constexpr int kDepths[] = {1, 4, 8, 16, 24, 32};
  if (std::find(std::begin(kDepths), std::end(kDepths), header.bits) == std::end(kDepths)) {
    return Unsupported(absl::StrCat(header.bits, " bits per pixel"));
  }
  if (header.bits > 8)
    header.layout = header.bits == 16 ? BmpHeader::Layout::kRgb555 : BmpHeader::Layout::kBytes;
  if (compression == kBitFields) {
    if (header.bits <= 8) return Unsupported("colour masks and a palette");
    if (absl::Status status = ReadMasks(s, header_size, &header); !status.ok()) return status;
    if (header_size < 52) end += 12;
  } else if (compression == kRunLength8 || compression == kRunLength4) {
    if (header.bits > 8) return Unsupported("run lengths of this depth");
    header.packing = compression == kRunLength8 ? BmpHeader::Packing::kRle8 : BmpHeader::Packing::kRle4;
  } else if (compression != kRaw) {
    return Unsupported("this compression");
  }
  size_t data = Little32(s, 10);
  if (header.bits <= 8) {
    if (colors == 0) colors = uint64_t{1} << header.bits;
    if (colors > 65536) return Unsupported("a palette of this size");
    const size_t bytes = static_cast<size_t>(colors) * static_cast<size_t>(header.palette_step);
    header.palette = end < s.size() ? s.substr(end, bytes) : absl::string_view();
    // An offset that points right behind the header cannot be meant: the palette lies there.
    if (data == 14 + header_size) data += bytes;
    end += bytes;
  }
  header.data = data != 0 ? data : end;
  return header;
}

absl::Status DecodeBmp(absl::string_view file, uint8_t* rgb) {
  const absl::StatusOr<BmpHeader> read = ReadBmpHeader(file);
  if (!read.ok()) return read.status();
  BmpHeader header = *read;
  constexpr absl::string_view kMissing = "the image data is damaged or cut short";
  if (header.data > file.size()) return Corrupt(kMissing);
  const Colors colors = MakeColors(header);
  const auto target = [&](int64_t row) {
    return rgb + 3 * header.width * (header.top_down ? row : header.height - 1 - row);
  };
  if (header.packing != BmpHeader::Packing::kNone) {
    std::vector<uint8_t> indices(static_cast<size_t>(header.width * header.height));
    if (!Unpack(file, header, &indices)) return Corrupt(kMissing);
    header.bits = 8;
    for (int64_t row = 0; row < header.height; ++row)
      ConvertRow(header, colors, indices.data() + row * header.width, target(row));
    return absl::OkStatus();
  }
  const int64_t row_bytes = (header.width * header.bits + 7) / 8;
  const int64_t stride = (header.width * header.bits + 31) / 32 * 4;
  // The padding behind the last row may be missing: it holds no pixels.
  if (static_cast<int64_t>(file.size() - header.data) < stride * (header.height - 1) + row_bytes)
    return Corrupt(kMissing);
  for (int64_t row = 0; row < header.height; ++row)
    ConvertRow(header, colors, Data(file) + header.data + row * stride, target(row));
  return absl::OkStatus();
}

}  // namespace embedd
