// SPDX-License-Identifier: Apache-2.0
//
// Readers of single values for the table of flags: each makes the `set` and `show` of a Flag from a member of
// Config and its range. Used by config_flags.cc only.

#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/config/config_flags.h"
#include "server/support/word_table.h"

namespace embedd::config_values {

// InvalidArgument: `words` are those that can be given, as WordsIn lists them.
absl::Status UnknownWord(absl::string_view text, absl::string_view words);

// Text that is taken as it is; empty text means not set.
Flag Text(Flag flag, std::string Config::*member);
// One of `choices`.
Flag Choice(Flag flag, std::string Config::*member, std::initializer_list<absl::string_view> choices);
// One of the words of a table (support/word_table.h).
template <typename Row, size_t kRows>
Flag Choice(Flag flag, decltype(Row::value) Config::*member, const Row (&table)[kRows]) {
  flag.set = [member, &table](absl::string_view text, Config* config) -> absl::Status {
    const auto value = ValueIn(table, text);
    if (!value.has_value()) return UnknownWord(text, WordsIn(table));
    config->*member = *value;
    return absl::OkStatus();
  };
  flag.show = [member, &table](const Config& config) {
    return std::string(RowIn(table, config.*member).word);
  };
  return flag;
}
// An integer from low to high; `zero_word` (if any) is another way to write 0.
Flag Integer(Flag flag, int Config::*member, int low, int high, absl::string_view zero_word = "");
// A number from low to high.
Flag Number(Flag flag, double Config::*member, double low, double high);
// Bytes or pixels from low to high; `zero_word` as above, and then 0 is allowed as well.
Flag Bytes(Flag flag, int64_t Config::*member, int64_t low, int64_t high, absl::string_view zero_word = "");
Flag Pixels(Flag flag, int64_t Config::*member, int64_t low, int64_t high);
// 200ms, 30s, 5m, 1h30m from low to high; 0 and "off" are allowed as well.
Flag Time(Flag flag, absl::Duration Config::*member, absl::Duration low, absl::Duration high);
// true or false, or on and off, yes and no, 1 and 0.
Flag Switch(Flag flag, bool Config::*member);

// Shared with flags that need more than a member. InvalidArgument names the accepted words.
absl::Status ReadBool(absl::string_view text, bool* out);

}  // namespace embedd::config_values
