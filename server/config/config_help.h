// SPDX-License-Identifier: Apache-2.0
//
// What the flags look like to people: --help, --print-config, and the nearest name to a mistyped one. Used by
// config_parse.cc only.

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/config/config_flags.h"
#include "server/config/config_parse.h"

namespace embedd {

// The text of --help.
std::string HelpText();
// The text of --print-config: name, value and source in columns.
std::string SettingsText(const std::vector<Setting>& settings);

// The flag of that name, without dashes, or null.
const Flag* FindFlag(absl::string_view name);
// The name of the flag that `word` most likely meant (dashes, underscores and case do not matter); empty
// where none is near.
absl::string_view NearestFlag(absl::string_view word);
// "EMBEDD_MAX_BATCH" -> "max-batch". The name need not be a known one.
std::string FlagOfEnvironment(absl::string_view variable);

}  // namespace embedd
