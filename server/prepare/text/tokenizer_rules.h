// SPDX-License-Identifier: Apache-2.0
//
// What differs between the tokenizers of the three kinds of folder: which files they read and how a text
// becomes ids. Made and owned by Tokenizer, which cuts, wraps and pads.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/text_spec.h"

namespace embedd {

class TokenizerRules {
 public:
  virtual ~TokenizerRules() = default;

  // The ids of a text, without what is written around them; may stop once there are `most`.
  virtual std::vector<int32_t> Content(std::u32string_view text, size_t most) const = 0;

  std::vector<int32_t> before,
      after;  // written around every text; `after` ends with the token that ends a text
  int32_t pad_id = 0;
  bool pad_left = false;
  bool cut_left = false;  // a text that is too long loses its start, not its end
  bool lowercases = false;
  bool end_once = false;  // `after` is left out behind ids that end with it
};

// The tokenizer files of one folder. Remembers what was read.
class TokenizerFolder {
 public:
  explicit TokenizerFolder(std::string path) : path_(std::move(path)) {}

  bool Has(const std::string& name) const;
  std::string Path(const std::string& name) const;
  // The whole file. Errors: kNotFound, kInvalidArgument (too large).
  absl::StatusOr<std::string> Read(const std::string& name);
  // The same, and it is not among the files read.
  absl::StatusOr<std::string> Peek(const std::string& name) const;
  // Name, size and bytes of all files read, hashed with `salt`: 64 hexadecimal digits.
  std::string Hash(absl::string_view salt) const;

 private:
  const std::string path_;
  std::vector<std::string> digests_;
};

absl::StatusOr<std::unique_ptr<TokenizerRules>> MakeOpenClipRules(TokenizerFolder& folder,
                                                                  const TextSpec& spec);
absl::StatusOr<std::unique_ptr<TokenizerRules>> MakeJsonRules(TokenizerFolder& folder, const TextSpec& spec);
absl::StatusOr<std::unique_ptr<TokenizerRules>> MakeSiglipRules(TokenizerFolder& folder,
                                                                const TextSpec& spec);

}  // namespace embedd
