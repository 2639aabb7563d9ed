// SPDX-License-Identifier: Apache-2.0
//
// What the libraries of the models do to a text before they split it. Called by Tokenizer. Bounded: see
// kMostRounds.

#pragma once

#include <string>
#include <string_view>

#include "server/model/text_spec.h"

namespace embedd {

// The text as `mode` leaves it. kNone and kLower change nothing here: they are steps of the tokenizer.
std::u32string CleanText(std::u32string_view text, TextCleaning mode);

// What ftfy.fix_text does, but for the repair of mojibake (text decoded with a wrong encoding), which it
// guesses at.
std::u32string FixText(std::u32string_view text);

// ftfy repeats its fixes until nothing changes; text that needs more rounds than this (&amp;amp;amp;...
// nested that deep) is left as it then is.
inline constexpr int kMostRounds = 32;

// Runs of str.isspace() characters as one space, none at the ends: " ".join(text.split()).
std::u32string CollapseSpaces(std::u32string_view text);

// Without the characters of Python's string.punctuation.
std::u32string WithoutPunctuation(std::u32string_view text);

// The cleaning that transformers' SiglipTokenizer does to each part of a text. `lower`: unless its config
// says otherwise.
std::u32string CleanAsSiglip(std::u32string_view text, bool lower = true);

}  // namespace embedd
