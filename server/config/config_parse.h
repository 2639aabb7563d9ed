// SPDX-License-Identifier: Apache-2.0
//
// Fills a Config from the command line, the environment and a file. Called once by main, before any thread
// starts and before logging is set up: it prints nothing and logs nothing.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config/config.h"

namespace embedd {

// Name to value, for example {"EMBEDD_MAX_BATCH", "32"}.
using Environment = std::map<std::string, std::string>;
// The variables of this process whose names start with EMBEDD_.
Environment ProcessEnvironment();

// Where a value came from.
struct Setting {
  std::string name;    // of the flag, without dashes
  std::string value;   // as it would be written; secrets are paths of files
  std::string source;  // "flag", "env", "file" or "default"
};

struct ParsedConfig {
  Config config;
  std::vector<Setting> settings;      // one per flag, in the order of --help
  std::vector<std::string> warnings;  // for the log, once it is set up
  // Not empty after --help, --version or --print-config: main prints it and exits with 0.
  std::string output;
};

// Precedence: flag, EMBEDD_… variable, key of --config FILE, default. argv[0] is skipped. InvalidArgument
// (exit code 2) when something is unknown, malformed, out of range or does not fit together; its message
// names the flag, variable or file and key, and what to write instead. An unknown EMBEDD_… variable is only a
// warning: other programs may own it.
absl::StatusOr<ParsedConfig> ParseConfig(int argc, const char* const* argv, const Environment& environment);

}  // namespace embedd
