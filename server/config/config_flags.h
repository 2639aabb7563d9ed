// SPDX-License-Identifier: Apache-2.0
//
// The table of flags: one row per setting drives the command line, the environment, the file, --help and
// --print-config. Used by config_parse.cc and config_help.cc only.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/config/config.h"

namespace embedd {

struct Flag {
  enum class Kind {
    kValue,   // --name VALUE
    kList,    // --name VALUE, repeatable; in the environment separated by commas
    kSwitch,  // --name alone means true
  };
  absl::string_view group;  // heading in --help
  absl::string_view name;   // without dashes
  absl::string_view value;  // what stands for the value in --help
  absl::string_view help;   // what it is, and when to change it
  Kind kind = Kind::kValue;
  // Reads one value into the config. The message of an error says what is wrong, not which flag.
  std::function<absl::Status(absl::string_view text, Config* config)> set;
  // The value as `set` would read it. Lists: joined by commas.
  std::function<std::string(const Config&)> show;
  // Lists only: drops the values of a weaker source.
  std::function<void(Config*)> clear = nullptr;
};

// Every flag but --config, --help, --version and --print-config, in the order of the road.
const std::vector<Flag>& Flags();

// "max-batch" -> "EMBEDD_MAX_BATCH".
std::string EnvironmentName(absl::string_view flag);

}  // namespace embedd
