// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/png_decoder.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/pixel_rules.h"
#include "server/prepare/image/zlib_stream.h"

namespace embedd {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("PNG: ", what));
}

enum Color { kGrey = 0, kRgb = 2, kPalette = 3, kGreyAlpha = 4, kRgba = 6 };

struct Chunks {
  absl::string_view header;
  int bits = 0;
  int color = 0;
  bool interlaced = false;
  std::array<uint8_t, 768> palette = {};
  bool has_palette = false;
  std::vector<ZlibPiece> pieces;

  int channels() const { return color == kRgb ? 3 : color == kGreyAlpha ? 2 : color == kRgba ? 4 : 1; }
};

bool ChecksumRight(absl::string_view kind_and_body, uint32_t wanted) {
  return Crc32(kind_and_body) == wanted;
}

bool DepthAllowed(int color, int bits) {
  switch (color) {
    case kGrey:
      return bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
    case kPalette:
      return bits == 1 || bits == 2 || bits == 4 || bits == 8;
    case kRgb:
    case kGreyAlpha:
    case kRgba:
      return bits == 8 || bits == 16;
    default:
      return false;
  }
}

// Walks the chunks up to the end of the file or of what can be made out. Chunks that say nothing about the
// pixels may be damaged.
absl::Status ReadChunks(absl::string_view s, Chunks* chunks) {
  constexpr size_t kSignature = 8;
  for (size_t at = kSignature; at + 8 <= s.size();) {
    const uint64_t length = Big32(s, at);
    const absl::string_view kind = s.substr(at + 4, 4);
    const absl::string_view body = s.substr(at + 8, static_cast<size_t>(length));
    const bool whole = body.size() == length && s.size() - at - 8 - body.size() >= 4;
    const absl::string_view checked = s.substr(at + 4, 4 + body.size());
    if (kind == "IDAT") {
      ZlibPiece piece{body, whole, false};
      if (whole) piece.checksum_right = ChecksumRight(checked, Big32(s, at + 8 + body.size()));
      chunks->pieces.push_back(piece);
    } else if (kind == "IHDR" || (kind == "PLTE" && chunks->pieces.empty())) {
      if (!whole || !ChecksumRight(checked, Big32(s, at + 8 + body.size()))) {
        return Corrupt(kind == "IHDR" ? "the checksum of the header is wrong" : "the palette is damaged");
      }
      if (kind == "IHDR") {
        if (length < 13) return Corrupt("the header is cut short");
        if (!chunks->header.empty() && chunks->header != body) return Corrupt("a second header");
        chunks->header = body;
        chunks->bits = static_cast<int>(Byte(body, 8));
        chunks->color = static_cast<int>(Byte(body, 9));
        // Whether the data is compressed in another way than it must be, its own header and checksum say.
        if (Byte(body, 11) != 0 || Byte(body, 12) > 1)
          return Corrupt("an unknown kind of filter or interlacing");
        chunks->interlaced = Byte(body, 12) == 1;
      } else {
        std::memcpy(chunks->palette.data(), body.data(), std::min(body.size(), chunks->palette.size()));
        chunks->has_palette = true;
      }
    } else if (kind == "IEND") {
      break;
    }
    if (length > s.size() - at - 8) break;
    at += 12 + static_cast<size_t>(length);
  }
  if (!DepthAllowed(chunks->color, chunks->bits)) return Corrupt("an impossible depth or kind of colour");
  if (chunks->color == kPalette && !chunks->has_palette) return Corrupt("the palette is missing");
  if (chunks->pieces.empty()) return Corrupt("the file ends before its image data");
  return absl::OkStatus();
}

// Undoes the filter of a row in place. `above` is the row before it, of zeros for the first. False for a
// filter that does not exist.
template <size_t kStep>
bool Unfilter(int filter, uint8_t* row, const uint8_t* above, size_t size) {
  const size_t head = std::min(kStep, size);
  switch (filter) {
    case 0:
      return true;
    case 1:
      for (size_t i = kStep; i < size; ++i) row[i] = static_cast<uint8_t>(row[i] + row[i - kStep]);
      return true;
    case 2:
      for (size_t i = 0; i < size; ++i) row[i] = static_cast<uint8_t>(row[i] + above[i]);
      return true;
    case 3:
      for (size_t i = 0; i < head; ++i) row[i] = static_cast<uint8_t>(row[i] + above[i] / 2);
      for (size_t i = kStep; i < size; ++i)
        row[i] = static_cast<uint8_t>(row[i] + (row[i - kStep] + above[i]) / 2);
      return true;
    case 4: {
      for (size_t i = 0; i < head; ++i) row[i] = static_cast<uint8_t>(row[i] + above[i]);
      for (size_t i = kStep; i < size; ++i) {
        const int left = row[i - kStep], up = above[i], corner = above[i - kStep];
        const int to_left = std::abs(up - corner), to_up = std::abs(left - corner);
        const int to_corner = std::abs(left + up - 2 * corner);
        const int near = to_up < to_left ? up : left;
        const int best = to_corner < std::min(to_left, to_up) ? corner : near;
        row[i] = static_cast<uint8_t>(row[i] + best);
      }
      return true;
    }
    default:
      return false;
  }
}

bool UnfilterBy(size_t step, int filter, uint8_t* row, const uint8_t* above, size_t size) {
  switch (step) {
    case 1:
      return Unfilter<1>(filter, row, above, size);
    case 2:
      return Unfilter<2>(filter, row, above, size);
    case 3:
      return Unfilter<3>(filter, row, above, size);
    case 4:
      return Unfilter<4>(filter, row, above, size);
    case 6:
      return Unfilter<6>(filter, row, above, size);
    default:
      return Unfilter<8>(filter, row, above, size);
  }
}

// Samples of one row to RGB8.
class Painter {
 public:
  explicit Painter(const Chunks& chunks) : chunks_(chunks) {
    const int levels = (1 << std::min(chunks.bits, 8)) - 1;
    for (int i = 0; i < 256; ++i) {
      for (int c = 0; c < 3; ++c) {
        colors_[i][c] = chunks.color == kPalette ? chunks.palette[3 * i + c]
                                                 : static_cast<uint8_t>(std::min(i * 255 / levels, 255));
      }
    }
  }

  void Paint(uint8_t* row, int64_t count, uint8_t* out) {
    if (chunks_.bits == 16) return Paint16(row, count, out);
    if (chunks_.bits == 8 && chunks_.color != kPalette) {
      return ToRgb(chunks_.color == kGrey        ? PixelRule::kGray8
                   : chunks_.color == kGreyAlpha ? PixelRule::kGrayA8
                   : chunks_.color == kRgb       ? PixelRule::kRgb8
                                                 : PixelRule::kRgba8,
                   row, count, out);
    }
    const int bits = chunks_.bits;
    const int mask = (1 << bits) - 1;
    for (int64_t x = 0; x < count; ++x, out += 3) {
      const int64_t bit = x * bits;
      std::memcpy(out, colors_[row[bit / 8] >> (8 - bits - bit % 8) & mask].data(), 3);
    }
  }

 private:
  void Paint16(uint8_t* row, int64_t count, uint8_t* out) {
    const int64_t samples = count * chunks_.channels();
    for (int64_t i = 0; i < samples; ++i) {
      const auto value = static_cast<uint16_t>(row[2 * i] << 8 | row[2 * i + 1]);
      std::memcpy(row + 2 * i, &value, sizeof value);
    }
    ToRgb(chunks_.color == kGrey        ? PixelRule::kGray16
          : chunks_.color == kGreyAlpha ? PixelRule::kGrayA16
          : chunks_.color == kRgb       ? PixelRule::kRgb16
                                        : PixelRule::kRgba16,
          row, count, out);
  }

  const Chunks& chunks_;
  std::array<std::array<uint8_t, 3>, 256> colors_;
};

struct Pass {
  int64_t x, y, step_x, step_y;
};
constexpr Pass kWhole[] = {{0, 0, 1, 1}};
constexpr Pass kAdam7[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                           {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

absl::Status DecodePass(const Pass& pass, const ImageHeader& header, const Chunks& chunks, ZlibStream* stream,
                        RowTarget* target) {
  const int64_t width = (header.width - pass.x + pass.step_x - 1) / pass.step_x;
  const int64_t height = (header.height - pass.y + pass.step_y - 1) / pass.step_y;
  if (width <= 0 || height <= 0) return absl::OkStatus();
  const int pixel_bits = chunks.bits * chunks.channels();
  const auto row_bytes = static_cast<size_t>((width * pixel_bits + 7) / 8);
  const size_t step = static_cast<size_t>(std::max(1, pixel_bits / 8));
  const size_t stride = row_bytes + 1;  // the filter comes first
  // zlib's fast loop wants room: many rows at once, and the last of the rows before them in front.
  constexpr size_t kRoom = size_t{1} << 16;
  constexpr int64_t kFew = RowTarget::kFew;
  const int64_t at_once = std::min(static_cast<int64_t>(kRoom / stride) / kFew * kFew + kFew, height);
  std::vector<uint8_t> rows(stride * static_cast<size_t>(at_once + 1));
  std::vector<uint8_t> spread(pass.step_x > 1 ? static_cast<size_t>(3 * width) : 0);
  // 16-bit samples are turned in place once the row below needs them no more.
  std::vector<uint8_t> turned(chunks.bits == 16 ? row_bytes : 0);
  Painter painter(chunks);
  for (int64_t y = 0; y < height; y += at_once) {
    const int64_t count = std::min(at_once, height - y);
    const size_t wanted = stride * static_cast<size_t>(count);
    if (stream->Read(rows.data() + stride, wanted) != wanted) return stream->Missing();
    for (int64_t i = 0, some = 0; i < count; i += some) {
      const int64_t first = pass.y + (y + i) * pass.step_y;
      some = pass.step_y == 1 ? count - i : 1;
      uint8_t* out = target->Room(first, &some) + 3 * pass.x;
      for (int64_t r = 0; r < some; ++r, out += target->stride()) {
        uint8_t* above = rows.data() + stride * static_cast<size_t>(i + r) + 1;
        uint8_t* row = above + stride;
        if (!UnfilterBy(step, row[-1], row, above, row_bytes)) return Corrupt("a row with an unknown filter");
        uint8_t* samples = row;
        if (!turned.empty()) {
          std::memcpy(turned.data(), row, row_bytes);
          samples = turned.data();
        }
        if (spread.empty()) {
          painter.Paint(samples, width, out);
          continue;
        }
        painter.Paint(samples, width, spread.data());
        for (int64_t x = 0; x < width; ++x) std::memcpy(out + 3 * x * pass.step_x, spread.data() + 3 * x, 3);
      }
      target->Done(first, some);
    }
    std::memcpy(rows.data(), rows.data() + stride * static_cast<size_t>(count), stride);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DecodePng(absl::string_view file, const ImageHeader& header, RowTarget* rows) {
  Chunks chunks;
  if (absl::Status status = ReadChunks(file, &chunks); !status.ok()) return status;
  ZlibStream stream(chunks.pieces, ImageFormat::kPng);
  if (absl::Status status = stream.Open(); !status.ok()) return status;
  const auto passes = chunks.interlaced ? absl::MakeConstSpan(kAdam7) : absl::MakeConstSpan(kWhole);
  for (const Pass& pass : passes) {
    if (absl::Status status = DecodePass(pass, header, chunks, &stream, rows); !status.ok()) return status;
  }
  return stream.Check();
}

}  // namespace embedd
