// SPDX-License-Identifier: Apache-2.0
//
// A sentencepiece "precompiled charsmap": which byte strings a text's normalisation replaces, as a
// double-array trie, and by what. It comes from a file, so every step of a search is checked. Called by the
// normalisers of both tokenizer files.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

class Charsmap {
 public:
  // Errors: kInvalidArgument. An empty blob maps nothing.
  static absl::StatusOr<Charsmap> Parse(absl::string_view blob);

  struct Match {
    size_t size;  // bytes of the key
    absl::string_view replacement;
  };
  // The shortest or the longest key that `text` begins with.
  std::optional<Match> Shortest(absl::string_view text) const { return Search(text, true); }
  std::optional<Match> Longest(absl::string_view text) const { return Search(text, false); }

  // As the tokenizers library applies it: cluster by cluster, a cluster of under 6 bytes first as a whole.
  // There the shortest key counts, and replaces all of what was looked up.
  // Stops soon after `most` bytes.
  std::u32string ApplyAsTokenizers(std::u32string_view text, size_t most) const;

  // Of a replacement; longer ones are cut. The longest in published maps has 33 bytes.
  static constexpr size_t kLongestReplacement = 4096;

 private:
  std::optional<Match> Search(absl::string_view text, bool shortest) const;

  std::vector<uint32_t> units_;
  std::string replacements_;  // each ended by a NUL
};

}  // namespace embedd
