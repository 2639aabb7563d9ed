// SPDX-License-Identifier: Apache-2.0
//
// The words of an enum: one table of rows with a `value`, a `word` and whatever else a value means, read both
// ways. Flags, messages and metrics say the words; everything between them uses the enum. Used by the headers
// that hold such a table.

#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace embedd {

// Every value of the enum has a row.
template <typename Row, size_t kRows>
constexpr const Row& RowIn(const Row (&table)[kRows], decltype(Row::value) value) {
  for (const Row& row : table) {
    if (row.value == value) return row;
  }
  return table[0];
}

template <typename Row, size_t kRows>
constexpr std::optional<decltype(Row::value)> ValueIn(const Row (&table)[kRows], absl::string_view word) {
  for (const Row& row : table) {
    if (row.word == word) return row.value;
  }
  return std::nullopt;
}

// "auto, f32 or f16"
template <typename Row, size_t kRows>
std::string WordsIn(const Row (&table)[kRows]) {
  std::string words;
  for (size_t i = 0; i < kRows; ++i) {
    if (i > 0) words += i + 1 < kRows ? ", " : " or ";
    words.append(table[i].word.data(), table[i].word.size());
  }
  return words;
}

}  // namespace embedd
