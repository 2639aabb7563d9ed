// SPDX-License-Identifier: Apache-2.0
//
// text_dump: the ids of texts as the server makes them, for test_tokenizers.py.
//
//   text_dump FOLDER KIND CLEANING LENGTH VOCABULARY <TEXTS
//     KIND: open_clip, json or sentencepiece. CLEANING: none, lower, siglip, open_clip_lower,
//     open_clip_whitespace or open_clip_canonicalize. TEXTS: each its size, 4 bytes little-endian, and its
//     UTF-8. Prints one line of ids per text; first a line "pad eos lowercases identity".
//   text_dump --clean CLEANING <TEXTS
//     Prints the cleaned text of each, in hexadecimal digits.

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "server/prepare/text/text_cleaning.h"
#include "server/prepare/text/tokenizer.h"
#include "server/prepare/text/unicode.h"

namespace embedd {
namespace {

const std::map<std::string, TokenizerKind> kKinds = {{"open_clip", TokenizerKind::kOpenClip},
                                                     {"json", TokenizerKind::kTokenizerJson},
                                                     {"sentencepiece", TokenizerKind::kSentencePiece}};
const std::map<std::string, TextCleaning> kCleanings = {
    {"none", TextCleaning::kNone},
    {"lower", TextCleaning::kLower},
    {"siglip", TextCleaning::kSiglip},
    {"open_clip_lower", TextCleaning::kOpenClipLower},
    {"open_clip_whitespace", TextCleaning::kOpenClipWhitespace},
    {"open_clip_canonicalize", TextCleaning::kOpenClipCanonicalize}};

std::vector<std::string> ReadTexts() {
  const std::string all(std::istreambuf_iterator<char>(std::cin), {});
  std::vector<std::string> texts;
  for (size_t at = 0; at + 4 <= all.size();) {
    size_t size = 0;
    for (size_t i = 4; i-- > 0;) size = size << 8 | static_cast<uint8_t>(all[at + i]);
    texts.push_back(all.substr(at + 4, size));
    at += 4 + size;
  }
  return texts;
}

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() == 2 && arguments[0] == "--clean") {
    for (const std::string& text : ReadTexts()) {
      std::cout << absl::BytesToHexString(ToUtf8(CleanText(ToCodePoints(text), kCleanings.at(arguments[1]))))
                << "\n";
    }
    return 0;
  }
  if (arguments.size() != 5) return 2;
  TextSpec spec;
  spec.tokenizer = kKinds.at(arguments[1]);
  spec.cleaning = kCleanings.at(arguments[2]);
  spec.context_length = std::atoi(arguments[3].c_str());
  spec.vocab_size = std::atoi(arguments[4].c_str());
  const auto tokenizer = Tokenizer::Create(arguments[0], spec);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << "\n";
    return 1;
  }
  const Tokenizer& t = **tokenizer;
  std::cout << t.pad_id() << " " << t.eos_id() << " " << t.lowercases() << " " << t.identity() << "\n";
  for (const std::string& text : ReadTexts()) std::cout << absl::StrJoin(t.Encode(text).ids, " ") << "\n";
  return 0;
}

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) { return embedd::Main({argv + 1, argv + argc}); }
