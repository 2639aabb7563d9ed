// SPDX-License-Identifier: Apache-2.0
//
// Readers of the tokenizer files of a model folder, all but spiece.model: tokenizer.json, vocab.json with
// merges.txt, and tokenizer_config.json. A part that they do not know by its `type` is refused by name, never
// skipped. Called by Tokenizer.

#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/prepare/text/bpe.h"
#include "server/prepare/text/text_steps.h"
#include "server/prepare/text/unigram.h"

namespace embedd {

// A token that is cut out of a text before anything else looks at it.
struct AddedToken {
  std::u32string text;
  int32_t id = 0;
  bool left_strip = false;   // takes the white space before it
  bool right_strip = false;  // and behind it
  bool normalized = false;   // is looked for in the normalised text
};

// A tokenizer.json, ready to run.
struct TokenizerJson {
  std::vector<AddedToken> added;
  std::vector<NormalizeStep> normalize;
  std::vector<SplitStep> split;
  std::variant<Bpe, Unigram> model;
  std::vector<std::pair<std::string, int32_t>> unigram_ids;  // sorted: Unigram's pieces by name
  int64_t model_size = 0;                                    // one more than the largest id of the model
  std::vector<int32_t> before, after;                        // what is written around the ids of a text
  std::optional<int32_t> pad_id;
  std::optional<bool> pad_left, cut_left;  // what was set when the file was saved

  // The id of a token of the model or an added one.
  std::optional<int32_t> Find(absl::string_view token) const;
};

// `text` is the whole file, named `file` in messages. Errors: kInvalidArgument, kUnimplemented.
absl::StatusOr<TokenizerJson> ReadTokenizerJson(absl::string_view text, const std::string& file);

// A byte-level vocabulary as OpenAI's CLIP ships it.
absl::StatusOr<Bpe> ReadVocabAndMerges(absl::string_view vocab, const std::string& vocab_file,
                                       absl::string_view merges, const std::string& merges_file);

// What tokenizer_config.json says that counts.
struct TokenizerConfig {
  std::string pad_token, bos_token, eos_token, unk_token;  // empty: not said
  std::optional<bool> add_bos, add_eos;
  std::optional<bool> pad_left, cut_left;  // absent: not said
  bool lower_case = true;                  // SigLIP's alone
  std::string tokenizer_class;
};
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(absl::string_view text, const std::string& file);

}  // namespace embedd
