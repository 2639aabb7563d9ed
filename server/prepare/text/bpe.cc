// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/bpe.h"

#include <algorithm>
#include <queue>
#include <tuple>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace embedd {
namespace {

// How long the character is that begins with this byte, in valid UTF-8.
size_t CharacterSize(char first) {
  const auto byte = static_cast<uint8_t>(first);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

uint64_t Pair(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

std::string Quoted(absl::string_view piece) {
  return absl::StrCat("\"", absl::Utf8SafeCHexEscape(piece.substr(0, 60)), "\"");
}

}  // namespace

absl::Status Bpe::AddPiece(absl::string_view piece, int64_t id) {
  if (id < 0 || id > INT32_MAX - 1)
    return absl::InvalidArgumentError(absl::StrCat(Quoted(piece), " has the id ", id));
  const auto [at, added] = pieces_.try_emplace(std::string(piece), static_cast<int32_t>(id));
  if (!added && at->second != id)
    return absl::InvalidArgumentError(absl::StrCat(Quoted(piece), " is there twice"));
  size_ = std::max(size_, id + 1);
  return absl::OkStatus();
}

absl::Status Bpe::AddMerge(absl::string_view left, absl::string_view right) {
  const auto first = Find(left), second = Find(right), joined = Find(absl::StrCat(left, right));
  if (!first || !second || !joined) {
    return absl::InvalidArgumentError(absl::StrCat("the merge ", Quoted(left), " ", Quoted(right),
                                                   " needs a piece that is not in the vocabulary"));
  }
  // As the library, the last of two equal pairs counts.
  merges_[Pair(*first, *second)] = {next_rank_++, *joined};
  return absl::OkStatus();
}

void Bpe::Finish(Options options) {
  options_ = std::move(options);
  byte_ids_.assign(256, -1);
  for (int byte = 0; byte < 256; ++byte) {
    if (const auto id = Find(absl::StrFormat("<0x%02X>", byte))) byte_ids_[static_cast<size_t>(byte)] = *id;
  }
}

std::optional<int32_t> Bpe::Find(absl::string_view piece) const {
  const auto found = pieces_.find(piece);
  return found == pieces_.end() ? std::nullopt : std::optional<int32_t>(found->second);
}

const Bpe::Merge* Bpe::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(Pair(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::vector<int32_t> Bpe::Split(absl::string_view word) const {
  std::vector<int32_t> ids;
  bool unknown_before = false;
  for (size_t at = 0; at < word.size();) {
    const size_t size = std::min(CharacterSize(word[at]), word.size() - at);
    const bool last = at + size == word.size();
    const absl::string_view character = word.substr(at, size);
    at += size;
    const auto id = last && !options_.end_of_word.empty()
                        ? Find(absl::StrCat(character, options_.end_of_word))
                        : Find(character);
    if (id) {
      ids.push_back(*id);
      unknown_before = false;
      continue;
    }
    if (options_.byte_fallback) {
      std::vector<int32_t> bytes;
      for (const char c : character) {
        if (byte_ids_[static_cast<uint8_t>(c)] >= 0) bytes.push_back(byte_ids_[static_cast<uint8_t>(c)]);
      }
      if (bytes.size() == character.size()) {
        ids.insert(ids.end(), bytes.begin(), bytes.end());
        unknown_before = false;
        continue;
      }
    }
    if (!options_.unknown || (unknown_before && options_.fuse_unknown)) continue;
    ids.push_back(*options_.unknown);
    unknown_before = true;
  }
  return ids;
}

void Bpe::Encode(absl::string_view word, std::vector<int32_t>& ids) const {
  if (options_.ignore_merges) {
    if (const auto whole = Find(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  std::vector<int32_t> symbols = Split(word);  // -1: joined to the one on its left
  const size_t count = symbols.size();
  std::vector<size_t> next(count), previous(count);
  struct Candidate {
    int32_t rank;
    size_t at;
    int32_t id;
    bool operator>(const Candidate& other) const {
      return std::tie(rank, at) > std::tie(other.rank, other.at);
    }
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](size_t left, size_t right) {
    if (const Merge* merge = FindMerge(symbols[left], symbols[right]))
      queue.push({merge->rank, left, merge->id});
  };
  for (size_t i = 0; i < count; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;
    if (i + 1 < count) offer(i, i + 1);
  }
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    const size_t right = symbols[best.at] < 0 ? count : next[best.at];
    if (right >= count) continue;
    const Merge* merge = FindMerge(symbols[best.at], symbols[right]);
    if (merge == nullptr || merge->id != best.id) continue;  // the pair is another by now
    symbols[best.at] = best.id;
    symbols[right] = -1;
    next[best.at] = next[right];
    if (next[right] < count) {
      previous[next[right]] = best.at;
      offer(best.at, next[best.at]);
    }
    if (best.at > 0) offer(previous[best.at], best.at);
  }
  for (const int32_t id : symbols) {
    if (id >= 0) ids.push_back(id);
  }
}

}  // namespace embedd
