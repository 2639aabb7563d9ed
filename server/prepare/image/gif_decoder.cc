// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/gif_decoder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("GIF: ", what));
}

// A palette whose entries are the grey levels 0, 1, 2, ... says nothing: Pillow then takes an index beyond
// its end for a grey level, too.
bool IsPlainGrey(absl::string_view palette) {
  for (size_t i = 0; i < palette.size(); i += 3) {
    if (Byte(palette, i) != i / 3 || palette[i + 1] != palette[i] || palette[i + 2] != palette[i])
      return false;
  }
  return true;
}

// Behind the sub-blocks that begin at `at`.
size_t SkipBlocks(absl::string_view s, size_t at) {
  while (at < s.size() && s[at] != 0) at += 1 + Byte(s, at);
  return at + 1;
}

using Colors = std::array<std::array<uint8_t, 3>, 256>;

Colors MakeColors(absl::string_view palette) {
  Colors colors = {};
  for (size_t i = 0; i < colors.size(); ++i) {
    if (palette.empty()) {
      colors[i].fill(static_cast<uint8_t>(i));
    } else if (3 * i + 3 <= palette.size()) {
      std::memcpy(colors[i].data(), palette.data() + 3 * i, 3);
    }
  }
  return colors;
}

// The bits of the sub-blocks, lowest first.
class Codes {
 public:
  Codes(absl::string_view s, size_t at) : s_(s), at_(at) {}
  // -1 when the blocks end before the code does.
  int Next(int bits) {
    while (have_ < bits) {
      if (left_ == 0) {
        if (at_ >= s_.size()) return -1;
        left_ = Byte(s_, at_++);
        if (left_ == 0) {
          at_ = s_.size();
          return -1;
        }
      }
      if (at_ >= s_.size()) return -1;
      value_ |= Byte(s_, at_++) << have_;
      have_ += 8;
      --left_;
    }
    const int code = static_cast<int>(value_ & ((1u << bits) - 1));
    value_ >>= bits;
    have_ -= bits;
    return code;
  }

 private:
  const absl::string_view s_;
  size_t at_;
  size_t left_ = 0;
  uint32_t value_ = 0;
  int have_ = 0;
};

// LZW with codes of up to 12 bits. Fills `out`; false when the codes end first, or one of them means nothing.
bool Unpack(Codes codes, int code_bits, std::vector<uint8_t>* out) {
  constexpr int kMostBits = 12;
  const int clear = 1 << code_bits;
  const int end = clear + 1;
  std::vector<uint16_t> prefix(size_t{1} << kMostBits);
  std::vector<uint8_t> last(size_t{1} << kMostBits);
  std::vector<uint8_t> text(size_t{1} << kMostBits);  // of one code, backwards
  for (int i = 0; i < clear; ++i) last[i] = static_cast<uint8_t>(i);
  int next = end + 1;
  int bits = code_bits + 1;
  int previous = -1;
  uint8_t first = 0;
  size_t at = 0;
  while (at < out->size()) {
    const int code = codes.Next(bits);
    if (code < 0 || code == end) return false;
    if (code == clear) {
      next = end + 1;
      bits = code_bits + 1;
      previous = -1;
      continue;
    }
    if (previous < 0) {
      if (code >= clear) return false;
      first = static_cast<uint8_t>(code);
      (*out)[at++] = first;
      previous = code;
      continue;
    }
    if (code > next || (code == next && next >= 1 << kMostBits)) return false;
    size_t length = 0;
    int walk = code;
    if (code == next) {
      text[length++] = first;
      walk = previous;
    }
    while (walk >= clear) {
      text[length++] = last[walk];
      walk = prefix[walk];
    }
    first = static_cast<uint8_t>(walk);
    text[length++] = first;
    while (length > 0 && at < out->size()) (*out)[at++] = text[--length];
    if (next < 1 << kMostBits) {
      prefix[next] = static_cast<uint16_t>(previous);
      last[next] = first;
      ++next;
      if (next == 1 << bits && bits < kMostBits) ++bits;
    }
    previous = code;
  }
  return true;
}

// Where row `row` of the data belongs.
int64_t InterlacedRow(int64_t row, int64_t height) {
  constexpr struct { int64_t first, step; } kPasses[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  for (const auto& pass : kPasses) {
    const int64_t rows = height > pass.first ? (height - pass.first + pass.step - 1) / pass.step : 0;
    if (row < rows) return pass.first + row * pass.step;
    row -= rows;
  }
  return height - 1;
}

}  // namespace

absl::StatusOr<GifFrame> FindGifFrame(absl::string_view s) {
  constexpr absl::string_view kCut = "the file ends before its first picture";
  if (s.size() < 13) return Corrupt(kCut);
  GifFrame frame;
  frame.canvas_width = Little16(s, 6);
  frame.canvas_height = Little16(s, 8);
  const uint32_t screen = Byte(s, 10);
  size_t at = 13;
  const auto take_palette = [&](uint32_t flags) {
    const size_t bytes = size_t{3} << ((flags & 7) + 1);
    const absl::string_view palette = at < s.size() ? s.substr(at, bytes) : absl::string_view();
    at += bytes;
    return palette.size() < bytes || IsPlainGrey(palette) ? absl::string_view() : palette;
  };
  if ((screen & 0x80) != 0) frame.palette = take_palette(screen);
  while (at < s.size()) {
    const char kind = s[at++];
    if (kind == ';') break;
    if (kind == '!') {
      if (at >= s.size()) break;
      const uint32_t label = Byte(s, at++);
      constexpr uint32_t kGraphicControl = 0xF9;
      if (label == kGraphicControl && at + 5 <= s.size() && Byte(s, at) >= 4 && (s[at + 1] & 1) != 0) {
        frame.transparent = static_cast<int>(Byte(s, at + 4));
      }
      at = SkipBlocks(s, at);
    } else if (kind == ',') {
      if (s.size() - at < 10) break;
      frame.x = Little16(s, at);
      frame.y = Little16(s, at + 2);
      frame.width = Little16(s, at + 4);
      frame.height = Little16(s, at + 6);
      const uint32_t flags = Byte(s, at + 8);
      frame.interlaced = (flags & 0x40) != 0;
      at += 9;
      if ((flags & 0x80) != 0) {
        // One that says nothing leaves the screen's in force, for Pillow.
        const absl::string_view own = take_palette(flags);
        if (!own.empty()) frame.palette = own;
      }
      if (at >= s.size()) break;
      frame.code_bits = static_cast<int>(Byte(s, at));
      frame.data = at + 1;
      frame.canvas_width = std::max(frame.canvas_width, frame.x + frame.width);
      frame.canvas_height = std::max(frame.canvas_height, frame.y + frame.height);
      return frame;
    }
    // Anything else between blocks is skipped, as Pillow does.
  }
  return Corrupt(kCut);
}

absl::Status DecodeGif(absl::string_view file, uint8_t* rgb) {
  const absl::StatusOr<GifFrame> found = FindGifFrame(file);
  if (!found.ok()) return found.status();
  const GifFrame& frame = *found;
  if (frame.width < 1 || frame.height < 1) return Corrupt("its first picture has no pixels");
  if (frame.code_bits < 1 || frame.code_bits > 8) return Corrupt("an impossible size of codes");
  std::vector<uint8_t> indices(static_cast<size_t>(frame.width * frame.height));
  if (!Unpack(Codes(file, frame.data), frame.code_bits, &indices))
    return Corrupt("the image data is damaged or cut short");

  const Colors colors = MakeColors(frame.palette);
  const auto& around = colors[frame.transparent >= 0 ? frame.transparent : 0];
  const bool whole = frame.width == frame.canvas_width && frame.height == frame.canvas_height;
  for (int64_t i = 0; !whole && i < frame.canvas_width * frame.canvas_height; ++i) {
    std::memcpy(rgb + 3 * i, around.data(), 3);
  }
  for (int64_t row = 0; row < frame.height; ++row) {
    const int64_t y = frame.y + (frame.interlaced ? InterlacedRow(row, frame.height) : row);
    uint8_t* out = rgb + 3 * (y * frame.canvas_width + frame.x);
    const uint8_t* in = indices.data() + row * frame.width;
    for (int64_t x = 0; x < frame.width; ++x) std::memcpy(out + 3 * x, colors[in[x]].data(), 3);
  }
  return absl::OkStatus();
}

}  // namespace embedd
