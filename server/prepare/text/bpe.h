// SPDX-License-Identifier: Apache-2.0
//
// Byte-pair encoding of one word: characters become vocabulary ids, then the pair of the lowest rank is
// joined, the leftmost of equal ones first, until none is left. Filled by the readers of tokenizer files,
// called by Tokenizer. n log n in the length of the word.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace embedd {

class Bpe {
 public:
  struct Options {
    std::string end_of_word;         // written behind the last character of a word, "" or "</w>"
    std::optional<int32_t> unknown;  // for a character outside the vocabulary; absent: it is left out
    bool fuse_unknown = false;       // a run of unknown characters is one
    bool byte_fallback =
        false;  // such a character becomes its bytes <0x00> to <0xFF>, where all of them are there
    bool ignore_merges = false;  // a word of the vocabulary is itself, whatever the merges say
  };

  // Errors: kInvalidArgument (a piece twice with other ids, an id below 0).
  absl::Status AddPiece(absl::string_view piece, int64_t id);
  // The next merge in rank; its parts and the joined piece must be there. Errors: kInvalidArgument.
  absl::Status AddMerge(absl::string_view left, absl::string_view right);
  // After all pieces: reads the byte pieces.
  void Finish(Options options);

  std::optional<int32_t> Find(absl::string_view piece) const;
  // One more than the largest id.
  int64_t size() const { return size_; }
  const Options& options() const { return options_; }

  // Appends the ids of `word`, valid UTF-8.
  void Encode(absl::string_view word, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t id;
  };
  std::vector<int32_t> Split(absl::string_view word) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;

  Options options_;
  absl::flat_hash_map<std::string, int32_t> pieces_;
  absl::flat_hash_map<uint64_t, Merge> merges_;
  std::vector<int32_t> byte_ids_;  // -1: not there
  int64_t size_ = 0;
  int32_t next_rank_ = 0;
};

}  // namespace embedd
