// SPDX-License-Identifier: Apache-2.0
//
// Tokenizer: a text in, the ids that the text tower takes out, cut and padded to the context length, as the
// model's own library makes them. Made once from the model's folder; called by the threads that prepare
// inputs. Texts are hostile: the work is bounded by kLongestText, whatever is in them.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/text_spec.h"

namespace embedd {

class TokenizerRules;

class Tokenizer {
 public:
  // A longer text is cut here, in bytes, before anything looks at it; 64 to 77 tokens of any language fit
  // many times.
  static constexpr size_t kLongestText = 16 << 10;

  // Reads what `spec` needs of tokenizer.json, tokenizer_config.json, vocab.json, merges.txt and spiece.model
  // in `folder`. Errors: kNotFound (with the command that gets the file), kInvalidArgument, kUnimplemented (a
  // part that is not read).
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(const std::string& folder, const TextSpec& spec);

  ~Tokenizer();

  struct Encoded {
    std::vector<int32_t> ids;  // context_length of them
    int tokens = 0;            // without padding
  };
  // For any thread. Bytes that are no UTF-8 count as U+FFFD.
  Encoded Encode(absl::string_view text) const;

  int context_length() const { return spec_.context_length; }
  int pad_id() const;
  // What ends a text.
  int eos_id() const;
  // Whether "A Photo" and "a photo" have the same ids.
  bool lowercases() const;
  // SHA-256, in hexadecimal digits, of the files that were read, with the rules and the length: for the text
  // fingerprint.
  const std::string& identity() const { return identity_; }

 private:
  Tokenizer(const TextSpec& spec, std::unique_ptr<const TokenizerRules> rules, std::string identity);

  const TextSpec spec_;
  const std::unique_ptr<const TokenizerRules> rules_;
  const std::string identity_;
};

}  // namespace embedd
