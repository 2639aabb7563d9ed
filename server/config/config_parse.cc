// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_parse.h"

#include <unistd.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/config/config_check.h"
#include "server/config/config_file.h"
#include "server/config/config_flags.h"
#include "server/config/config_help.h"
#include "server/support/version.h"

extern char** environ;

namespace embedd {
namespace {

// The texts of one flag from the strongest source that has any.
struct Found {
  std::vector<std::string> values;
  std::string source = "default";
  std::string origin;  // for messages: " (from EMBEDD_MAX_BATCH)"
};

struct CommandLine {
  std::map<std::string, std::vector<std::string>> values;  // by flag; only those that were given
  std::optional<std::string> config_file;
  bool help = false, version = false, print_config = false;
};

std::string Suggest(absl::string_view word, absl::string_view prefix) {
  const absl::string_view nearest = NearestFlag(word);
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", prefix, nearest, "?");
}

absl::StatusOr<CommandLine> ReadCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  CLI::App app;
  app.set_help_flag();  // --help is made from the table
  app.allow_extras();
  CLI::Option* const help = app.add_flag("-h,--help");
  CLI::Option* const version = app.add_flag("--version");
  CLI::Option* const print_config = app.add_flag("--print-config");
  CLI::Option* const config = app.add_option("--config");
  std::vector<std::pair<const Flag*, CLI::Option*>> options;
  for (const Flag& flag : Flags()) {
    const std::string name = absl::StrCat("--", flag.name);
    CLI::Option* const option = flag.kind == Flag::Kind::kSwitch ? app.add_flag(name) : app.add_option(name);
    // One value per occurrence; how often it may occur is up to the table.
    if (flag.kind != Flag::Kind::kSwitch) option->expected(1)->take_all();
    options.emplace_back(&flag, option);
  }
  config->expected(1)->take_all();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text = error.what();
    return absl::InvalidArgumentError(absl::StrCat(text.substr(0, text.find(':')), " needs a value"));
  } catch (const CLI::Error& error) {
    return absl::InvalidArgumentError(error.what());  // names the option
  }
  for (const std::string& extra : app.remaining()) {
    if (!absl::StartsWith(extra, "-")) {
      return absl::InvalidArgumentError(absl::StrCat("\"", extra, "\" is no flag; see --help"));
    }
    const std::string name(extra.substr(0, extra.find('=')));
    return absl::InvalidArgumentError(absl::StrCat("unknown flag ", name, Suggest(name, "--")));
  }
  line.help = help->count() > 0;
  line.version = version->count() > 0;
  line.print_config = print_config->count() > 0;
  if (config->count() > 0) line.config_file = config->results().back();
  for (const auto& [flag, option] : options) {
    if (option->count() > 0) line.values[std::string(flag->name)] = option->results();
  }
  return line;
}

absl::StatusOr<std::vector<ConfigFileEntry>> ReadFile(const std::string& path) {
  std::ifstream stream(path);
  std::stringstream text;
  // An empty file says nothing, which is not wrong; << of no characters fails.
  const bool empty = stream && stream.peek() == std::ifstream::traits_type::eof() && !stream.bad();
  if (!stream.is_open() || (!empty && !(text << stream.rdbuf()))) {
    return absl::InvalidArgumentError(absl::StrCat("--config: cannot read ", path));
  }
  absl::StatusOr<std::vector<ConfigFileEntry>> entries = ParseConfigFile(path, text.str());
  if (!entries.ok()) return entries;
  for (const ConfigFileEntry& entry : *entries) {
    if (FindFlag(entry.key) != nullptr) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":", entry.line, ": unknown key ", entry.key, Suggest(entry.key, "")));
  }
  return entries;
}

void WarnOfUnknown(const Environment& environment, std::vector<std::string>* warnings) {
  for (const auto& [name, value] : environment) {
    // EMBEDD_TARGET is for embedctl and the clients, which may run in the same environment.
    if (!absl::StartsWith(name, "EMBEDD_") || name == "EMBEDD_CONFIG" || name == "EMBEDD_TARGET") continue;
    bool known = false;
    for (const Flag& flag : Flags()) known = known || EnvironmentName(flag.name) == name;
    if (known) continue;
    const absl::string_view nearest = NearestFlag(FlagOfEnvironment(name));
    warnings->push_back(
        absl::StrCat("unknown environment variable ", name, " is ignored",
                     nearest.empty() ? "" : absl::StrCat("; did you mean ", EnvironmentName(nearest), "?")));
  }
}

Found Find(const Flag& flag, const CommandLine& line, const Environment& environment, absl::string_view file,
           const std::vector<ConfigFileEntry>& entries) {
  Found found;
  const bool list = flag.kind == Flag::Kind::kList;
  const auto split = [&](const std::string& text) -> std::vector<std::string> {
    if (!list) return {text};
    return absl::StrSplit(text, absl::ByAnyChar(", "), absl::SkipEmpty());
  };
  const std::string variable = EnvironmentName(flag.name);
  if (const auto given = line.values.find(std::string(flag.name)); given != line.values.end()) {
    found.source = "flag";
    found.values = given->second;
    if (!list)
      found.values = {given->second.back()};  // the last one counts, so that a script can add to a line
  } else if (const auto set = environment.find(variable); set != environment.end() && !set->second.empty()) {
    // An empty variable counts as none: compose files and units pass on variables that nobody set.
    found = {split(set->second), "env", absl::StrCat(" (from ", variable, ")")};
  } else {
    for (const ConfigFileEntry& entry : entries) {
      if (entry.key != flag.name) continue;
      found = {entry.values, "file", absl::StrCat(" (from ", file, ":", entry.line, ")")};
      if (list && !entry.is_list) found.values = split(entry.values[0]);
    }
  }
  return found;
}

absl::Status Apply(const Flag& flag, const Found& found, Config* config) {
  const auto invalid = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("--", flag.name, found.origin, ": ", why));
  };
  if (found.source == "default") return absl::OkStatus();
  if (found.values.empty()) return invalid("has no value");
  if (flag.clear) {
    flag.clear(config);
  } else if (found.values.size() > 1) {
    return invalid("takes one value, not a list");
  }
  for (const std::string& value : found.values) {
    const absl::Status status = flag.set(value, config);
    if (!status.ok()) return invalid(status.message());
  }
  return absl::OkStatus();
}

}  // namespace

Environment ProcessEnvironment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const absl::string_view text(*entry);
    const size_t equals = text.find('=');
    if (!absl::StartsWith(text, "EMBEDD_") || equals == absl::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

absl::StatusOr<ParsedConfig> ParseConfig(int argc, const char* const* argv, const Environment& environment) {
  absl::StatusOr<CommandLine> line = ReadCommandLine(argc, argv);
  if (!line.ok()) return line.status();
  ParsedConfig parsed;
  if (line->help) {
    parsed.output = HelpText();
    return parsed;
  }
  if (line->version) {
    parsed.output = absl::StrCat("embedd ", std::string(Version()), "\n");
    return parsed;
  }

  std::string file;
  if (const auto set = environment.find("EMBEDD_CONFIG"); set != environment.end()) file = set->second;
  if (line->config_file.has_value()) file = *line->config_file;
  std::vector<ConfigFileEntry> entries;
  if (!file.empty()) {
    absl::StatusOr<std::vector<ConfigFileEntry>> read = ReadFile(file);
    if (!read.ok()) return read.status();
    entries = *std::move(read);
  }

  for (const Flag& flag : Flags()) {
    const Found found = Find(flag, *line, environment, file, entries);
    const absl::Status status = Apply(flag, found, &parsed.config);
    if (!status.ok()) return status;
    parsed.settings.push_back({std::string(flag.name), flag.show(parsed.config), found.source});
  }
  WarnOfUnknown(environment, &parsed.warnings);
  if (line->print_config) {
    parsed.output = SettingsText(parsed.settings);
    return parsed;
  }
  const absl::Status status = CheckConfig(parsed.config);
  if (!status.ok()) return status;
  return parsed;
}

}  // namespace embedd
