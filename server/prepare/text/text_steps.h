// SPDX-License-Identifier: Apache-2.0
//
// The steps between a text and the model of a tokenizer.json: normalizers, which change a text, and
// pre-tokenizers, which cut it into words. Filled by ReadTokenizerJson, run by Tokenizer. Linear in the text.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/prepare/text/charsmap.h"

namespace embedd {

struct NormalizeStep {
  enum class Kind { kNfc, kNfkc, kLower, kReplace, kReplaceSpaces, kPrepend, kStrip, kCharsmap };
  Kind kind = Kind::kNfc;
  std::u32string from;             // kReplace; kReplaceSpaces: the shortest run, spaces or (U+0020 only) ' '
  std::u32string to;               // kReplace, kReplaceSpaces, kPrepend
  size_t shortest = 1;             // kReplaceSpaces: a run of this many or more
  bool any_space = true;           // kReplaceSpaces: all of White_Space, or U+0020 only
  bool left = true, right = true;  // kStrip
  Charsmap charsmap;
};

// A file whose steps make a text longer than this (16 times the longest text; the widest character of
// Unicode's own normal forms becomes 18) is cut there, so that no file decides how much work a text is.
inline constexpr size_t kLongestNormal = 1 << 18;

std::u32string Normalize(std::u32string_view text, const std::vector<NormalizeStep>& steps);

struct SplitStep {
  enum class Kind { kClipWords, kSpaceAtEnd, kWhitespace, kMetaspace, kBytes };
  Kind kind = Kind::kClipWords;
  std::vector<std::u32string> whole;  // kClipWords: texts that stay one word
  bool ignore_case = false;           // kClipWords
  char32_t mark = 0x2581;             // kMetaspace: what stands for a space
  bool prepend = true;                // kMetaspace: a mark before each word that has none
  bool split = true;                  // kMetaspace: a word begins at each mark
};

std::vector<std::u32string> Split(std::u32string_view text, const std::vector<SplitStep>& steps);

// The character that byte-level vocabularies write for a byte.
char32_t ByteSymbol(uint8_t byte);

}  // namespace embedd
