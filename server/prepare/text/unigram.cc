// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/unigram.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

// No published vocabulary has a piece over 100 bytes; it bounds the work per byte of a text.
constexpr size_t kLongestPiece = 512;

size_t CharacterSize(char first) {
  const auto byte = static_cast<uint8_t>(first);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

}  // namespace

absl::Status Unigram::Build(std::vector<Piece> pieces, Unknown unknown, Arithmetic arithmetic) {
  pieces_ = std::move(pieces);
  unknown_ = std::move(unknown);
  arithmetic_ = arithmetic;
  best_score_ = -HUGE_VAL;
  for (const Piece& piece : pieces_) {
    if (!std::isfinite(piece.score))
      return absl::InvalidArgumentError(absl::StrCat("piece ", piece.id, " has no finite score"));
    if (piece.text.empty() || piece.text.size() > kLongestPiece) {
      return absl::InvalidArgumentError(
          absl::StrCat("piece ", piece.id, " has ", piece.text.size(), " bytes, not 1 to ", kLongestPiece));
    }
    if (!piece.user_defined) best_score_ = std::max(best_score_, piece.score);
    longest_ = std::max(longest_, piece.text.size());
  }
  std::sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) { return a.text < b.text; });
  for (size_t i = 1; i < pieces_.size(); ++i) {
    if (pieces_[i].text == pieces_[i - 1].text) {
      return absl::InvalidArgumentError(
          absl::StrCat("pieces ", pieces_[i - 1].id, " and ", pieces_[i].id, " are the same"));
    }
  }
  first_byte_begin_.assign(257, pieces_.size());
  for (size_t i = pieces_.size(); i-- > 0;) first_byte_begin_[static_cast<uint8_t>(pieces_[i].text[0])] = i;
  for (size_t b = 256; b-- > 0;)
    first_byte_begin_[b] = std::min(first_byte_begin_[b], first_byte_begin_[b + 1]);
  return absl::OkStatus();
}

double Unigram::Rounded(double score) const {
  return arithmetic_ == Arithmetic::kSentencePiece ? static_cast<double>(static_cast<float>(score)) : score;
}

void Unigram::Offer(Node& node, double score, size_t begin, int32_t id) const {
  score = Rounded(score);
  if (node.reached && score <= node.score) return;
  node = {score, begin, id, true};
}

void Unigram::Encode(absl::string_view text, std::vector<int32_t>& ids) const {
  if (text.empty()) return;
  std::vector<Node> nodes(text.size() + 1);
  nodes[0].reached = true;
  for (size_t begin = 0; begin < text.size();) {
    const double until_here = nodes[begin].score;
    const size_t character = std::min(CharacterSize(text[begin]), text.size() - begin);
    bool has_character = false;
    // The pieces that begin with text[begin, end): always a range of the sorted ones.
    const auto byte = static_cast<uint8_t>(text[begin]);
    auto low = pieces_.begin() + static_cast<std::ptrdiff_t>(first_byte_begin_[byte]);
    auto high = pieces_.begin() + static_cast<std::ptrdiff_t>(first_byte_begin_[byte + size_t{1}]);
    for (size_t size = 1; low != high; ++size) {
      if (low->text.size() == size) {
        const double score =
            low->user_defined ? Rounded(static_cast<double>(size) * best_score_ - 0.1) : low->score;
        Offer(nodes[begin + size], score + until_here, begin, low->id);
        has_character = has_character || size == character;
        ++low;
      }
      if (begin + size >= text.size()) break;
      const auto next = static_cast<uint8_t>(text[begin + size]);
      low = std::lower_bound(low, high, next, [size](const Piece& piece, uint8_t b) {
        return static_cast<uint8_t>(piece.text[size]) < b;
      });
      high = std::upper_bound(low, high, next, [size](uint8_t b, const Piece& piece) {
        return b < static_cast<uint8_t>(piece.text[size]);
      });
    }
    if (!has_character) Offer(nodes[begin + character], unknown_.score + until_here, begin, unknown_.id);
    begin += character;
  }
  std::vector<int32_t> backwards;
  for (size_t end = text.size(); end > 0; end = nodes[end].begin) {
    const Node& node = nodes[end];
    if (node.id != unknown_.id) {
      backwards.push_back(node.id);
    } else if (!unknown_.byte_ids.empty()) {
      for (size_t i = end; i-- > node.begin;)
        backwards.push_back(unknown_.byte_ids[static_cast<uint8_t>(text[i])]);
    } else if (backwards.empty() || backwards.back() != unknown_.id) {
      backwards.push_back(unknown_.id);
    }
  }
  ids.insert(ids.end(), backwards.rbegin(), backwards.rend());
}

}  // namespace embedd
