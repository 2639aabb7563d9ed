// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/support/utf8.h"

namespace embedd {
namespace {

constexpr absl::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581
constexpr double kUnknownPenalty = 10;                    // below the lowest score
constexpr size_t kLongestNormal = 1 << 20;                // as text_steps.h has it, in bytes
constexpr size_t kMostUserDefined = 1000;                 // each is looked for at each byte

// Fields of one protobuf message, in the order of the file. Everything it hands out lies inside the message.
class Fields {
 public:
  explicit Fields(absl::string_view message) : rest_(message) {}

  // False at the end and after an error; ok() tells which.
  bool Next() {
    text = {};
    number = 0;
    uint64_t tag = 0;
    if (rest_.empty() || !Varint(tag)) return false;
    field = static_cast<int>(std::min<uint64_t>(tag >> 3, INT32_MAX));
    switch (tag & 7) {
      case 0:
        return Varint(number);
      case 1:
        return Fixed(8);
      case 2: {
        uint64_t size = 0;
        if (!Varint(size) || size > rest_.size()) return ok_ = false;
        text = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return true;
      }
      case 5:
        return Fixed(4);
      default:
        return ok_ = false;
    }
  }
  bool ok() const { return ok_; }
  float Float() const {
    const auto bits = static_cast<uint32_t>(number);
    float value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }

  int field = 0;
  uint64_t number = 0;
  absl::string_view text;

 private:
  bool Varint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return ok_ = false;
      const auto byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return ok_ = false;
  }
  bool Fixed(size_t size) {
    if (rest_.size() < size) return ok_ = false;
    for (size_t i = size; i-- > 0;) number = number << 8 | static_cast<uint8_t>(rest_[i]);
    rest_.remove_prefix(size);
    return true;
  }

  absl::string_view rest_;
  bool ok_ = true;
};

// SentencePiece.Type
enum PieceType : uint64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

}  // namespace

absl::StatusOr<SentencePiece> SentencePiece::Parse(absl::string_view bytes, const std::string& file) {
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
  };
  const auto not_read = [&](absl::string_view what) {
    return absl::UnimplementedError(absl::StrCat(file, ": ", what, " is not read"));
  };
  SentencePiece model;
  std::vector<Unigram::Piece> pieces;
  double lowest = HUGE_VAL;
  bool byte_fallback = false;
  int32_t id = 0;
  Fields fields(bytes);
  while (fields.Next()) {
    if (fields.field == 1) {  // pieces
      Unigram::Piece piece;
      uint64_t type = kNormal;
      Fields parts(fields.text);
      while (parts.Next()) {
        if (parts.field == 1) piece.text = std::string(parts.text);
        if (parts.field == 2) piece.score = static_cast<double>(parts.Float());
        if (parts.field == 3) type = parts.number;
      }
      if (!parts.ok() || !IsUtf8(piece.text)) return wrong(absl::StrCat("piece ", id, " cannot be read"));
      if (!model.ids_.try_emplace(piece.text, id).second)
        return wrong(absl::StrCat("piece ", id, " is there twice"));
      piece.id = id++;
      piece.user_defined = type == kUserDefined;
      if (type == kUnknown) {
        if (model.unknown_id_ >= 0) return wrong("holds two unknown pieces");
        model.unknown_id_ = piece.id;
        model.unknown_piece_ = piece.text;
      } else if (type == kNormal) {
        lowest = std::min(lowest, piece.score);
        pieces.push_back(std::move(piece));
      } else if (type == kUserDefined) {
        model.user_defined_.push_back(piece.text);
        pieces.push_back(std::move(piece));
      } else if (type != kControl && type != kUnused && type != kByte) {
        return not_read(absl::StrCat("piece ", piece.id, " of type ", type));
      }
    } else if (fields.field == 2) {  // trainer_spec
      Fields parts(fields.text);
      while (parts.Next()) {
        if (parts.field == 3 && parts.number != 1)
          return not_read(absl::StrCat("model type ", parts.number, " (1 is Unigram)"));
        if (parts.field == 24 && parts.number != 0) return not_read("treat_whitespace_as_suffix");
        if (parts.field == 35) byte_fallback = parts.number != 0;
      }
      if (!parts.ok()) return wrong("its trainer_spec cannot be read");
    } else if (fields.field == 3) {  // normalizer_spec
      Fields parts(fields.text);
      while (parts.Next()) {
        if (parts.field == 2) {
          absl::StatusOr<Charsmap> map = Charsmap::Parse(parts.text);
          if (!map.ok()) return wrong(map.status().message());
          model.charsmap_ = *std::move(map);
        }
        if (parts.field == 3) model.add_dummy_prefix_ = parts.number != 0;
        if (parts.field == 4) model.remove_extra_spaces_ = parts.number != 0;
        if (parts.field == 5) model.escape_spaces_ = parts.number != 0;
      }
      if (!parts.ok()) return wrong("its normalizer_spec cannot be read");
    }
  }
  if (!fields.ok()) return wrong("is no sentencepiece model, or is cut short");
  if (model.unknown_id_ < 0 || pieces.empty()) return wrong("holds no vocabulary");
  if (model.user_defined_.size() > kMostUserDefined) {
    return not_read(
        absl::StrCat(model.user_defined_.size(), " user-defined pieces (", kMostUserDefined, " at most)"));
  }
  Unigram::Unknown unknown{model.unknown_id_, lowest - kUnknownPenalty, {}};
  for (int byte = 0; byte_fallback && byte < 256; ++byte) {
    unknown.byte_ids.push_back(model.Find(absl::StrFormat("<0x%02X>", byte)));
    if (unknown.byte_ids.back() < 0)
      return wrong(absl::StrFormat("byte_fallback needs the piece <0x%02X>", byte));
  }
  std::sort(model.user_defined_.begin(), model.user_defined_.end(),
            [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  const absl::Status built =
      model.unigram_.Build(std::move(pieces), std::move(unknown), Unigram::Arithmetic::kSentencePiece);
  if (!built.ok()) return wrong(built.message());
  return model;
}

int32_t SentencePiece::Find(absl::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? -1 : found->second;
}

std::string SentencePiece::Normalize(absl::string_view text) const {
  std::string out;
  const absl::string_view space = escape_spaces_ ? kSpaceMark : absl::string_view(" ");
  bool after_space = remove_extra_spaces_;  // so that spaces at the beginning go as well
  if (add_dummy_prefix_ && !text.empty()) absl::StrAppend(&out, space);
  while (!text.empty() && out.size() < kLongestNormal) {
    absl::string_view part;
    const auto whole = std::find_if(
        user_defined_.begin(), user_defined_.end(),
        [&](const std::string& piece) { return !piece.empty() && text.substr(0, piece.size()) == piece; });
    if (whole != user_defined_.end()) {
      part = text.substr(0, whole->size());
      text.remove_prefix(whole->size());
    } else if (const auto match = charsmap_.Longest(text)) {
      part = match->replacement;
      text.remove_prefix(match->size);
    } else {
      size_t size = 1;  // one character
      while (size < text.size() && (static_cast<uint8_t>(text[size]) & 0xc0u) == 0x80u) ++size;
      part = text.substr(0, size);
      text.remove_prefix(size);
    }
    while (after_space && !part.empty() && part[0] == ' ') part.remove_prefix(1);
    if (!part.empty()) {
      for (const char c : part) {
        if (c == ' ') {
          absl::StrAppend(&out, space);
        } else {
          out += c;
        }
      }
      after_space = part.back() == ' ';
    }
    if (!remove_extra_spaces_) after_space = false;
  }
  if (remove_extra_spaces_) {
    while (out.size() >= space.size() && absl::string_view(out).substr(out.size() - space.size()) == space) {
      out.resize(out.size() - space.size());
    }
  }
  return out;
}

std::vector<int32_t> SentencePiece::Encode(absl::string_view text) const {
  std::vector<int32_t> ids;
  unigram_.Encode(Normalize(text), ids);
  return ids;
}

}  // namespace embedd
