// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_help.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace embedd {
namespace {

constexpr size_t kIndent = 6;
constexpr size_t kWidth = 96;

// `text` in lines of at most kWidth columns.
std::string Wrap(absl::string_view text) {
  std::string out;
  size_t column = kWidth;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column + 1 + word.size() > kWidth) {
      if (!out.empty()) out.push_back('\n');
      out.append(kIndent, ' ');
      column = kIndent;
    } else {
      out.push_back(' ');
      ++column;
    }
    absl::StrAppend(&out, word);
    column += word.size();
  }
  out.push_back('\n');
  return out;
}

// Levenshtein's distance: single insertions, deletions and replacements that turn a into b.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string Normal(absl::string_view word) {
  while (absl::ConsumePrefix(&word, "-")) {
  }
  return absl::StrReplaceAll(absl::AsciiStrToLower(word), {{"_", "-"}});
}

}  // namespace

std::string HelpText() {
  std::string out =
      "embedd: turns images and texts into embedding vectors, over gRPC, from a model that stays loaded\n\n"
      "Usage: embedd --model DIR [flags]\n\n"
      "Each flag is also an environment variable (--max-batch: EMBEDD_MAX_BATCH) and a key of the --config "
      "file\n"
      "(max-batch = 32). A flag wins over the environment, the environment over the file, the file over the "
      "default.\n"
      "Sizes: 64MiB, 512MB or bytes. Times: 200ms, 30s, 5m or off.\n";
  const Config defaults;
  absl::string_view group;
  for (const Flag& flag : Flags()) {
    if (flag.group != group) {
      group = flag.group;
      absl::StrAppend(&out, "\n", group, ":\n");
    }
    absl::StrAppend(&out, "  --", flag.name, flag.value.empty() ? "" : " ", flag.value, "\n");
    const std::string value = flag.show(defaults);
    out += Wrap(value.empty() ? std::string(flag.help) : absl::StrCat(flag.help, " [", value, "]"));
  }
  out +=
      "\nThis program:\n"
      "  --config FILE\n      Read settings from FILE: one `key = value` per line, # starts a comment.\n"
      "  --print-config\n      Print every setting with its value and where it came from, and exit.\n"
      "  --version\n      Print the version and exit.\n"
      "  -h, --help\n      Print this text and exit.\n\n"
      "Exit codes: 0 drained, 2 bad flags or config, 3 model cannot be loaded, 4 address in use, 5 device "
      "missing or\n"
      "failed (start it again), 130 second signal.\n";
  return out;
}

std::string SettingsText(const std::vector<Setting>& settings) {
  size_t name = 0, value = 0;
  for (const Setting& setting : settings) {
    name = std::max(name, setting.name.size());
    value = std::max(value, std::max<size_t>(setting.value.size(), 1));
  }
  std::string out;
  for (const Setting& setting : settings) {
    const std::string shown = setting.value.empty() ? "-" : setting.value;
    absl::StrAppend(&out, setting.name, std::string(name + 2 - setting.name.size(), ' '), shown,
                    std::string(value + 2 - shown.size(), ' '), setting.source, "\n");
  }
  return out;
}

const Flag* FindFlag(absl::string_view name) {
  for (const Flag& flag : Flags()) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

absl::string_view NearestFlag(absl::string_view word) {
  const std::string wanted = Normal(word);
  absl::string_view nearest;
  size_t best = std::max<size_t>(2, wanted.size() / 3) + 1;  // further away is no typing error
  for (const Flag& flag : Flags()) {
    const size_t distance = EditDistance(wanted, flag.name);
    if (distance < best) {
      best = distance;
      nearest = flag.name;
    }
  }
  return nearest;
}

std::string FlagOfEnvironment(absl::string_view variable) {
  absl::ConsumePrefix(&variable, "EMBEDD_");
  return Normal(variable);
}

}  // namespace embedd
