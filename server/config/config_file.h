// SPDX-License-Identifier: Apache-2.0
//
// Reads the text of a --config file: the part of TOML that a list of settings needs. `key = value` per line,
// where value is a bare word, "a string", 'a literal string' or [a, list] on one line; # starts a comment. No
// sections. Stricter than the reader of CLI11, which cuts strings at a # and skips what it does not
// understand.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

struct ConfigFileEntry {
  int line = 0;  // from 1
  std::string key;
  std::vector<std::string> values;  // one, unless it was a list
  bool is_list = false;
};

// InvalidArgument names `file` and the line.
absl::StatusOr<std::vector<ConfigFileEntry>> ParseConfigFile(absl::string_view file, absl::string_view text);

}  // namespace embedd
