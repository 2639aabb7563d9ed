// SPDX-License-Identifier: Apache-2.0
//
// SentencePiece: a spiece.model file as transformers' SiglipTokenizer runs it: sentencepiece's own
// normalisation and Unigram search. Reads the protobuf by hand, because the file is not ours and only a few
// fields count. Made and called by Tokenizer.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/prepare/text/charsmap.h"
#include "server/prepare/text/unigram.h"

namespace embedd {

class SentencePiece {
 public:
  // `bytes` is the whole file, named `file` in messages. Errors: kInvalidArgument, kUnimplemented (not
  // Unigram).
  static absl::StatusOr<SentencePiece> Parse(absl::string_view bytes, const std::string& file);

  // The ids of `text`, as sentencepiece's Encode. `text` is valid UTF-8.
  std::vector<int32_t> Encode(absl::string_view text) const;

  // The id of a piece of any type; -1 when it is not there.
  int32_t Find(absl::string_view piece) const;
  int32_t unknown_id() const { return unknown_id_; }
  const std::string& unknown_piece() const { return unknown_piece_; }
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }

 private:
  std::string Normalize(absl::string_view text) const;

  Charsmap charsmap_;
  Unigram unigram_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::vector<std::string> user_defined_;  // longest first
  int32_t unknown_id_ = -1;
  std::string unknown_piece_;
  bool add_dummy_prefix_ = true;
  bool remove_extra_spaces_ = true;
  bool escape_spaces_ = true;
};

}  // namespace embedd
