// SPDX-License-Identifier: Apache-2.0
//
// Texts given on the command line, one by one or in a file.

#pragma once

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"

namespace embedd::ctl {

struct TextFlags {
  std::vector<std::string> texts;
  std::string file;

  bool given() const { return !texts.empty() || !file.empty(); }
};

void AddTextFlags(CLI::App& command, TextFlags* flags);

// Those of --text, then the lines of --texts; an empty line is an empty text. Errors: NOT_FOUND and its like,
// naming the file.
absl::StatusOr<std::vector<std::string>> Texts(const TextFlags& flags);

// How a text is shown in a line: its beginning, Printable.
std::string Shown(const std::string& text);

}  // namespace embedd::ctl
