// SPDX-License-Identifier: Apache-2.0
//
// What tokenizing needs to know of Unicode, on strings of code points; the only place that sees ICU. Called
// by the cleaning and tokenizing of texts. Every function is linear in its input but NFC, which sorts runs of
// combining marks.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/string_view.h"

namespace embedd {

// Bytes that are no UTF-8 become U+FFFD.
std::u32string ToCodePoints(absl::string_view utf8);
std::string ToUtf8(std::u32string_view text);
void AppendUtf8(std::string& to, char32_t c);

bool IsWhiteSpace(
    char32_t c);  // Unicode's White_Space: Rust's char::is_whitespace, \s of Oniguruma and of Python's regex
bool IsPythonSpace(char32_t c);   // str.isspace(): the same and U+001C to U+001F
bool IsLetter(char32_t c);        // \p{L}
bool IsNumber(char32_t c);        // \p{N}
bool IsDecimalDigit(char32_t c);  // \p{Nd}: \d of Python's re

std::u32string Nfc(std::u32string_view text);
std::u32string Nfkc(std::u32string_view text);
// As Python's str.lower(): a sigma at the end of a word becomes the final one.
std::u32string Lower(std::u32string_view text);
// As Rust's char::to_lowercase, one by one: no final sigma.
std::u32string LowerEach(std::u32string_view text);
// As Python's str.upper().
std::u32string Upper(std::u32string_view text);

// Where the grapheme clusters of `text` end.
std::vector<size_t> GraphemeEnds(std::u32string_view text);

}  // namespace embedd
