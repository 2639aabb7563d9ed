// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/charsmap.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/prepare/text/unicode.h"

namespace embedd {
namespace {

constexpr size_t kWholeCluster = 6;  // tokenizers looks up clusters of fewer bytes as one

uint32_t LittleEndian(absl::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// The fields of a unit of a double-array trie as darts-clone writes them.
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Label(uint32_t unit) { return unit & 0x800000ffu; }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }
uint32_t Value(uint32_t unit) { return unit & 0x7fffffffu; }

}  // namespace

absl::StatusOr<Charsmap> Charsmap::Parse(absl::string_view blob) {
  Charsmap map;
  if (blob.empty()) return map;
  const uint32_t trie = blob.size() < 4 ? 0 : LittleEndian(blob);
  if (blob.size() < 8 || trie < 4 || trie % 4 != 0 || trie > blob.size() - 4) {
    return absl::InvalidArgumentError("the precompiled charsmap is cut short");
  }
  for (size_t at = 4; at < 4 + size_t{trie}; at += 4) map.units_.push_back(LittleEndian(blob.substr(at, 4)));
  map.replacements_ = std::string(blob.substr(4 + trie));
  map.replacements_ += '\0';
  return map;
}

std::optional<Charsmap::Match> Charsmap::Search(absl::string_view text, bool shortest) const {
  std::optional<Match> found;
  if (units_.empty()) return found;
  size_t node = Offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || Label(units_[node]) != byte) return found;
    const uint32_t unit = units_[node];
    node ^= Offset(unit);
    if (!HasLeaf(unit)) continue;
    if (node >= units_.size()) return found;
    const size_t begin = Value(units_[node]);
    if (begin >= replacements_.size()) return found;
    const size_t end = std::min(replacements_.find('\0', begin), begin + kLongestReplacement);
    found = Match{i + 1, absl::string_view(replacements_).substr(begin, end - begin)};
    if (shortest) return found;
  }
  return found;
}

std::u32string Charsmap::ApplyAsTokenizers(std::u32string_view text, size_t most) const {
  std::string out;
  size_t begin = 0;
  for (const size_t end : GraphemeEnds(text)) {
    if (out.size() > most) break;
    const std::u32string_view cluster = text.substr(begin, end - begin);
    begin = end;
    const std::string bytes = ToUtf8(cluster);
    if (bytes.size() < kWholeCluster) {
      if (const auto match = Shortest(bytes)) {
        absl::StrAppend(&out, match->replacement);
        continue;
      }
    }
    for (const char32_t c : cluster) {
      const std::string one = ToUtf8(std::u32string_view(&c, 1));
      const auto match = Shortest(one);
      absl::StrAppend(&out, match ? match->replacement : absl::string_view(one));
    }
  }
  return ToCodePoints(out);
}

}  // namespace embedd
