// SPDX-License-Identifier: Apache-2.0
//
// What is UTF-8, and how much of it fits: for texts of callers and names of files that go into messages,
// which protobuf and JSON take as UTF-8 alone. Used by the log, the model folder, the doors and the
// tokenizer. Overlong forms, surrogates and values above U+10FFFF are none (Unicode 15, table 3-7).

#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace embedd {

// Length of the character at the start of `text`, which is not empty: 1 to 4, or 0 where there is none.
size_t Utf8Length(absl::string_view text);

bool IsUtf8(absl::string_view text);

// The longest prefix of at most `bytes` bytes that does not end within a character.
absl::string_view CutUtf8(absl::string_view text, size_t bytes);

// `text`, each byte of what is no UTF-8 as U+FFFD.
std::string ToValidUtf8(absl::string_view text);

}  // namespace embedd
