// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/jpeg_lossless.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/pixel_rules.h"

namespace embedd {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("JPEG: ", what));
}

absl::Status Unsupported(absl::string_view what) {
  return DecodeError(Reason::kUnsupportedFormat,
                     absl::StrCat("a lossless JPEG ", what, " is not read here; send an ordinary one"));
}

constexpr absl::string_view kCut = "the image data ends before the image does";
constexpr int kMostBits = 16;

// Codes by length; within one length they count up.
struct HuffmanTable {
  bool known = false;
  std::array<uint8_t, kMostBits + 1> count = {};  // of codes of so many bits
  std::array<uint8_t, 256> values = {};

  // Takes the body of a segment from `*at` on. False when it is cut short.
  bool Read(absl::string_view body, size_t* at) {
    if (body.size() - *at < kMostBits) return false;
    size_t total = 0;
    for (int i = 1; i <= kMostBits; ++i) total += count[i] = static_cast<uint8_t>(Byte(body, (*at)++));
    if (total > values.size() || body.size() - *at < total) return false;
    std::copy_n(Data(body) + *at, total, values.begin());
    *at += total;
    known = true;
    return true;
  }
};

// The bits of coded data up to the next marker.
class Bits {
 public:
  Bits(absl::string_view s, size_t at) : s_(s), at_(at) {}

  // The next `count` bits, at most 16; zeros where there are none.
  uint32_t Peek(int count) {
    while (have_ < count && NextByte()) {
    }
    const uint64_t bits = have_ >= count ? bits_ >> (have_ - count) : bits_ << (count - have_);
    return static_cast<uint32_t>(bits & ((uint64_t{1} << count) - 1));
  }
  // False when there are no more.
  bool Skip(int count) {
    have_ -= count;
    return have_ >= 0;
  }
  // Goes on behind the restart marker of this number. False when another one, or none, comes first.
  bool Restart(int number) {
    have_ = 0;
    while (at_ + 1 < s_.size() &&
           (Byte(s_, at_) != 0xFF || Byte(s_, at_ + 1) == 0 || Byte(s_, at_ + 1) == 0xFF))
      ++at_;
    constexpr uint32_t kFirst = 0xD0;
    if (at_ + 1 >= s_.size() || Byte(s_, at_ + 1) != kFirst + static_cast<uint32_t>(number)) return false;
    at_ += 2;
    return true;
  }
  size_t at() const { return at_; }

 private:
  bool NextByte() {
    if (at_ >= s_.size()) return false;
    const uint32_t byte = Byte(s_, at_);
    if (byte == 0xFF) {
      if (at_ + 1 >= s_.size() || Byte(s_, at_ + 1) != 0) return false;
      ++at_;
    }
    ++at_;
    bits_ = bits_ << 8 | byte;
    have_ += 8;
    return true;
  }

  const absl::string_view s_;
  size_t at_;
  uint64_t bits_ = 0;
  int have_ = 0;
};

// A table for decoding: what the first eight bits say, and the rest by counting.
class Decoder {
 public:
  explicit Decoder(const HuffmanTable& table) : table_(table) {
    int code = 0, k = 0;
    for (int size = 1; size <= kFast; ++size, code <<= 1) {
      for (int i = 0; i < table.count[size]; ++i, ++code, ++k) {
        const int first = code << (kFast - size), some = 1 << (kFast - size);
        for (int j = first; j < std::min(first + some, 1 << kFast); ++j)
          fast_[j] = {static_cast<uint8_t>(size), table.values[k]};
      }
    }
  }

  // The next difference; false at the end of the data, and for a code that does not exist.
  bool Next(Bits* bits, int* difference) const {
    int category = 0;
    if (!Category(bits, &category)) return false;
    constexpr int kWraps = 16;
    if (category == 0 || category == kWraps) {
      *difference = category == 0 ? 0 : 1 << 15;
      return true;
    }
    const auto value = static_cast<int>(bits->Peek(category));
    *difference = value < 1 << (category - 1) ? value - (1 << category) + 1 : value;
    return bits->Skip(category);
  }

 private:
  static constexpr int kFast = 8;
  struct Entry {
    uint8_t size = 0, value = 0;
  };

  bool Category(Bits* bits, int* category) const {
    const Entry entry = fast_[bits->Peek(kFast)];
    if (entry.size > 0) {
      *category = entry.value;
      return *category <= 16 && bits->Skip(entry.size);
    }
    const auto ahead = static_cast<int>(bits->Peek(kMostBits));
    int code = 0, k = 0;
    for (int size = 1; size <= kMostBits; ++size, code <<= 1) {
      const int offset = (ahead >> (kMostBits - size)) - code;
      if (offset >= 0 && offset < table_.count[size]) {
        *category = table_.values[k + offset];
        return *category <= 16 && bits->Skip(size);
      }
      code += table_.count[size];
      k += table_.count[size];
    }
    return false;
  }

  const HuffmanTable& table_;
  std::array<Entry, 1 << kFast> fast_ = {};
};

struct Component {
  uint32_t id = 0;
  bool seen = false;
};

struct Scan {
  std::vector<size_t> components;
  std::vector<Decoder> decoders;  // one for each of them
  int predictor = 0;
  int shift = 0;
};

int Predict(int predictor, int left, int above, int corner) {
  switch (predictor) {
    case 1:
      return left;
    case 2:
      return above;
    case 3:
      return corner;
    case 4:
      return left + above - corner;
    case 5:
      return left + ((above - corner) >> 1);
    case 6:
      return above + ((left - corner) >> 1);
    default:
      return (left + above) >> 1;
  }
}

class LosslessFile {
 public:
  LosslessFile(absl::string_view file, const ImageHeader& header, RowTarget* rows)
      : s_(file),
        width_(header.width),
        height_(header.height),
        rows_(rows),
        components_(static_cast<size_t>(header.channels)) {}

  absl::Status Decode() {
    size_t at = 2;
    while (!Finished()) {
      while (at < s_.size() && Byte(s_, at) != 0xFF) ++at;
      while (at < s_.size() && Byte(s_, at) == 0xFF) ++at;
      if (at + 3 > s_.size()) return Corrupt(kCut);
      const uint32_t marker = Byte(s_, at++);
      constexpr uint32_t kFirstRestart = 0xD0, kEnd = 0xD9, kScan = 0xDA;
      if (marker == 0 || marker == 1 || (marker >= kFirstRestart && marker < kEnd)) continue;
      if (marker == kEnd) return Corrupt(kCut);
      const size_t length = Big16(s_, at);
      if (length < 2 || length > s_.size() - at) return Corrupt("a segment is cut short");
      const absl::string_view body = s_.substr(at + 2, length - 2);
      at += length;
      absl::Status status = marker == kScan ? DecodeScan(body, &at) : ReadSegment(marker, body);
      if (!status.ok()) return status;
    }
    if (!planes_.empty()) PaintPlanes();
    return absl::OkStatus();
  }

 private:
  bool Finished() const {
    return std::all_of(components_.begin(), components_.end(), [](const Component& c) { return c.seen; });
  }

  absl::Status ReadSegment(uint32_t marker, absl::string_view body) {
    switch (marker) {
      case 0xC3:
        return ReadFrame(body);
      case 0xC4:
        for (size_t at = 0; at < body.size();) {
          const uint32_t which = Byte(body, at++);
          HuffmanTable unused;
          HuffmanTable& table = which < tables_.size() ? tables_[which] : unused;
          if (!table.Read(body, &at)) return Corrupt("a table of codes is cut short");
        }
        break;
      case 0xDD:
        if (body.size() >= 2) restart_ = static_cast<int64_t>(Big16(body, 0));
        break;
      case 0xE0:
        jfif_ |= absl::StartsWith(body, "JFIF");
        break;
      case 0xEE: {
        constexpr size_t kTransformAt = 11;
        if (absl::StartsWith(body, "Adobe") && body.size() > kTransformAt)
          transform_ = static_cast<int>(Byte(body, kTransformAt));
        break;
      }
      default:
        break;
    }
    return absl::OkStatus();
  }

  absl::Status ReadFrame(absl::string_view body) {
    const size_t colors = components_.size();
    if (body.size() < 6 + 3 * colors || Byte(body, 5) != colors || Big16(body, 1) != height_ ||
        Big16(body, 3) != width_) {
      return Corrupt("the header contradicts itself about the size");
    }
    if (Byte(body, 0) != 8) return Unsupported("of other than 8 bits");
    for (size_t i = 0; i < colors; ++i) {
      components_[i].id = Byte(body, 6 + 3 * i);
      if (colors > 1 && Byte(body, 7 + 3 * i) != 0x11) return Unsupported("whose colours have fewer samples");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Scan> ReadScan(absl::string_view body) const {
    // libjpeg-turbo converts no colours of this coding.
    const size_t colors = components_.size();
    if (colors == 3 ? jfif_ || transform_ > 0 : colors == 4 && transform_ > 0)
      return Unsupported("of luma and chroma");
    Scan scan;
    const size_t count = body.empty() ? 0 : Byte(body, 0);
    if (count < 1 || count > components_.size() || body.size() < 4 + 2 * count)
      return Corrupt("the header of a scan is damaged");
    for (size_t i = 0; i < count; ++i) {
      const uint32_t id = Byte(body, 1 + 2 * i);
      const auto found = std::find_if(components_.begin(), components_.end(),
                                      [id](const Component& c) { return c.id == id && !c.seen; });
      const size_t table = Byte(body, 2 + 2 * i) >> 4;
      if (found == components_.end() || table >= tables_.size() || !tables_[table].known)
        return Corrupt("the header of a scan is damaged");
      scan.components.push_back(static_cast<size_t>(found - components_.begin()));
      scan.decoders.emplace_back(tables_[table]);
    }
    scan.predictor = static_cast<int>(Byte(body, 1 + 2 * count));
    scan.shift = static_cast<int>(Byte(body, 3 + 2 * count) & 15);
    if (scan.predictor < 1 || scan.predictor > 7 || scan.shift > 7 || restart_ % width_ != 0)
      return Corrupt("the header of a scan is damaged");
    return scan;
  }

  absl::Status DecodeScan(absl::string_view body, size_t* at) {
    const absl::StatusOr<Scan> scan = ReadScan(body);
    if (!scan.ok()) return scan.status();
    const size_t colors = scan->components.size();
    const bool at_once = colors == components_.size();
    if (!at_once && planes_.empty())
      planes_.resize(components_.size() * static_cast<size_t>(width_ * height_));
    const size_t row_bytes = static_cast<size_t>(width_) * colors;
    std::vector<uint16_t> row(row_bytes), above(row_bytes);
    std::vector<uint8_t> bytes(row_bytes);
    Bits bits(s_, *at);
    const int64_t rows_apart = restart_ / width_;
    for (int64_t y = 0; y < height_; ++y) {
      const bool restart = rows_apart > 0 && y > 0 && y % rows_apart == 0;
      if (restart && !bits.Restart(static_cast<int>((y / rows_apart - 1) % 8)))
        return Corrupt("a part of the image data between two restart markers is lost");
      if (!DecodeRow(*scan, y == 0 || restart, above, &bits, &row)) return Corrupt(kCut);
      for (size_t i = 0; i < row_bytes; ++i) bytes[i] = static_cast<uint8_t>(row[i] << scan->shift);
      if (at_once) {
        PaintRow(bytes.data(), y);
      } else {
        for (size_t i = 0; i < row_bytes; ++i)
          planes_[(static_cast<size_t>(y * width_) + i / colors) * components_.size() +
                  scan->components[i % colors]] = bytes[i];
      }
      row.swap(above);
    }
    for (const size_t c : scan->components) components_[c].seen = true;
    *at = bits.at();
    return absl::OkStatus();
  }

  bool DecodeRow(const Scan& scan, bool first, const std::vector<uint16_t>& above, Bits* bits,
                 std::vector<uint16_t>* row) const {
    const size_t colors = scan.components.size();
    const int start = 1 << (7 - scan.shift);
    for (size_t i = 0; i < row->size(); ++i) {
      int guess = 0;
      if (i < colors) {
        guess = first ? start : above[i];
      } else {
        guess = first ? (*row)[i - colors]
                      : Predict(scan.predictor, (*row)[i - colors], above[i], above[i - colors]);
      }
      int difference = 0;
      if (!scan.decoders[i % colors].Next(bits, &difference)) return false;
      (*row)[i] = static_cast<uint16_t>(guess + difference);
    }
    return true;
  }

  void PaintRow(const uint8_t* samples, int64_t y) {
    int64_t one = 1;
    uint8_t* out = rows_->Room(y, &one);
    ToRgb(components_.size() == 1   ? PixelRule::kGray8
          : components_.size() == 3 ? PixelRule::kRgb8
                                    : PixelRule::kPaper8,
          samples, width_, out);
    rows_->Done(y, 1);
  }

  void PaintPlanes() {
    for (int64_t y = 0; y < height_; ++y)
      PaintRow(planes_.data() + static_cast<size_t>(y * width_) * components_.size(), y);
  }

  const absl::string_view s_;
  const int64_t width_, height_;
  RowTarget* const rows_;
  std::vector<Component> components_;
  std::array<HuffmanTable, 4> tables_;
  int64_t restart_ = 0;  // samples between two restart markers; 0: there are none
  bool jfif_ = false;
  int transform_ = -1;           // of the Adobe segment; -1: there is none
  std::vector<uint8_t> planes_;  // samples side by side, where colours have scans of their own
};

}  // namespace

absl::Status DecodeLosslessJpeg(absl::string_view file, const ImageHeader& header, RowTarget* rows) {
  return LosslessFile(file, header, rows).Decode();
}

}  // namespace embedd
