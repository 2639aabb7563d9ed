// SPDX-License-Identifier: Apache-2.0
//
// Unigram segmentation: of all ways to cut a text into pieces of the vocabulary, the one with the highest sum
// of scores (Viterbi). Filled by the readers of tokenizer files, called by Tokenizer. Linear in the text,
// times the longest piece.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace embedd {

class Unigram {
 public:
  // Whose arithmetic is followed: sums in double (tokenizers), or kept in float between pieces
  // (sentencepiece). It decides between ways of almost the same score.
  enum class Arithmetic { kTokenizers, kSentencePiece };

  struct Piece {
    std::string text;
    double score = 0;
    int32_t id = 0;
    bool user_defined = false;  // sentencepiece's: always taken
  };

  struct Unknown {
    int32_t id = 0;
    double score = 0;  // of one character
    std::vector<int32_t>
        byte_ids;  // [256]: a run of unknown characters becomes its bytes; empty: it becomes one `id`
  };

  // `pieces`: those that may be taken. A character that no piece of one character covers is unknown.
  // Errors: kInvalidArgument.
  absl::Status Build(std::vector<Piece> pieces, Unknown unknown, Arithmetic arithmetic);

  // Appends the ids of `text`, valid UTF-8.
  void Encode(absl::string_view text, std::vector<int32_t>& ids) const;

 private:
  struct Node {
    double score = 0;
    size_t begin = 0;
    int32_t id = 0;
    bool reached = false;
  };
  double Rounded(double score) const;
  void Offer(Node& node, double score, size_t begin, int32_t id) const;

  std::vector<Piece> pieces_;             // sorted by text
  std::vector<size_t> first_byte_begin_;  // [257]: pieces that begin with byte b are [b] to [b + 1]
  size_t longest_ = 0;
  Unknown unknown_;
  double best_score_ = 0;  // of all pieces that are not user-defined
  Arithmetic arithmetic_ = Arithmetic::kTokenizers;
};

}  // namespace embedd
