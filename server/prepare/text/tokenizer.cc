// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/prepare/text/text_steps.h"
#include "server/prepare/text/tokenizer_rules.h"
#include "server/prepare/text/unicode.h"
#include "server/support/utf8.h"

namespace embedd {
namespace {

absl::StatusOr<std::unique_ptr<TokenizerRules>> MakeRules(TokenizerFolder& folder, const TextSpec& spec) {
  switch (spec.tokenizer) {
    case TokenizerKind::kOpenClip:
      return MakeOpenClipRules(folder, spec);
    case TokenizerKind::kTokenizerJson:
      return MakeJsonRules(folder, spec);
    case TokenizerKind::kSentencePiece:
      return MakeSiglipRules(folder, spec);
  }
  return absl::InvalidArgumentError("no such kind of tokenizer");
}

// What tokenizer_config.json changes of SigLIP's rules: of that file nothing else is in the identity.
std::string SiglipChanges(const TokenizerRules& rules) {
  return absl::StrCat(rules.lowercases ? "" : " keeps case", rules.pad_left ? " pads left" : "",
                      rules.cut_left ? " cuts left" : "");
}

// The last `bytes` bytes of `text` or some fewer, from the start of a character.
absl::string_view Tail(absl::string_view text, size_t bytes) {
  if (text.size() > bytes) text.remove_prefix(text.size() - bytes);
  while (!text.empty() && (static_cast<uint8_t>(text[0]) & 0xC0) == 0x80) text.remove_prefix(1);
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(const std::string& path, const TextSpec& spec) {
  TokenizerFolder folder(path);
  absl::StatusOr<std::unique_ptr<TokenizerRules>> rules = MakeRules(folder, spec);
  if (!rules.ok()) return rules.status();
  if (spec.pad_id) (*rules)->pad_id = *spec.pad_id;
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
  };
  const size_t around = (*rules)->before.size() + (*rules)->after.size();
  if (spec.context_length < 1 || around >= static_cast<size_t>(spec.context_length)) {
    return wrong(absl::StrCat("a context of ", spec.context_length, " tokens leaves no room for a text"));
  }
  std::vector<int32_t> fixed = (*rules)->before;
  fixed.insert(fixed.end(), (*rules)->after.begin(), (*rules)->after.end());
  fixed.push_back((*rules)->pad_id);
  for (const int32_t id : fixed) {
    if (id < 0 || id >= spec.vocab_size) {
      return wrong(absl::StrCat("its tokenizer writes the id ", id, ", but the text tower knows ",
                                spec.vocab_size, " tokens"));
    }
  }
  if ((*rules)->after.empty()) return wrong("its tokenizer writes no token at the end of a text");
  std::string identity = folder.Hash(absl::StrCat(
      "embedd tokenizer 1 kind ", static_cast<int>(spec.tokenizer), " cleaning ",
      static_cast<int>(spec.cleaning), " length ", spec.context_length, " pad ", (*rules)->pad_id,
      spec.tokenizer == TokenizerKind::kSentencePiece ? SiglipChanges(**rules) : ""));
  return std::unique_ptr<Tokenizer>(new Tokenizer(spec, *std::move(rules), std::move(identity)));
}

Tokenizer::Tokenizer(const TextSpec& spec, std::unique_ptr<const TokenizerRules> rules, std::string identity)
    : spec_(spec), rules_(std::move(rules)), identity_(std::move(identity)) {}
Tokenizer::~Tokenizer() = default;

int Tokenizer::pad_id() const { return rules_->pad_id; }
int Tokenizer::eos_id() const { return rules_->after.back(); }
bool Tokenizer::lowercases() const { return rules_->lowercases; }

Tokenizer::Encoded Tokenizer::Encode(absl::string_view text) const {
  const auto length = static_cast<size_t>(spec_.context_length);
  const size_t most = length - rules_->before.size() - rules_->after.size();
  const absl::string_view cut = rules_->cut_left ? Tail(text, kLongestText) : CutUtf8(text, kLongestText);
  std::vector<int32_t> content = rules_->Content(ToCodePoints(cut), rules_->cut_left ? kLongestNormal : most);
  if (content.size() > most) {
    if (rules_->cut_left) content.erase(content.begin(), content.end() - static_cast<std::ptrdiff_t>(most));
    content.resize(most);
  }
  const bool ended = rules_->end_once && !content.empty() && content.back() == rules_->after.back();

  Encoded out;
  out.ids = rules_->before;
  out.ids.insert(out.ids.end(), content.begin(), content.end());
  if (!ended) out.ids.insert(out.ids.end(), rules_->after.begin(), rules_->after.end());
  out.tokens = static_cast<int>(out.ids.size());
  out.ids.insert(rules_->pad_left ? out.ids.begin() : out.ids.end(), length - out.ids.size(), rules_->pad_id);
  return out;
}

}  // namespace embedd
