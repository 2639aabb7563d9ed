// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_file.h"

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace embedd {
namespace {

// Takes values off the front of one line.
class LineReader {
 public:
  explicit LineReader(absl::string_view rest) : rest_(rest) {}

  // True at the end of the line or at a comment.
  bool AtEnd() {
    rest_ = absl::StripLeadingAsciiWhitespace(rest_);
    return rest_.empty() || rest_[0] == '#';
  }

  bool Take(char c) {
    if (AtEnd() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // A bare word, a string or a literal string. Empty message: fine.
  std::string TakeValue(std::string* value) {
    value->clear();
    if (AtEnd()) return "the value is missing";
    if (rest_[0] == '"') return TakeString(value);
    if (rest_[0] == '\'') {
      const size_t end = rest_.find('\'', 1);
      if (end == absl::string_view::npos) return "the string has no end";
      *value = std::string(rest_.substr(1, end - 1));
      rest_.remove_prefix(end + 1);
      return "";
    }
    const size_t end = std::min(rest_.find_first_of(" \t\r,]#\"'"), rest_.size());
    *value = std::string(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return value->empty() ? "the value is missing" : "";
  }

 private:
  std::string TakeString(std::string* value) {
    for (size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == '"') {
        rest_.remove_prefix(i + 1);
        return "";
      }
      if (rest_[i] == '\\') {
        ++i;
        if (i == rest_.size() || (rest_[i] != '"' && rest_[i] != '\\')) {
          return "only \\\" and \\\\ are known after a backslash; use single quotes for a literal string";
        }
      }
      value->push_back(rest_[i]);
    }
    return "the string has no end";
  }

  absl::string_view rest_;
};

// One line that is not blank. Empty message: fine.
std::string ParseLine(absl::string_view line, ConfigFileEntry* entry) {
  const size_t equals = line.find('=');
  const absl::string_view key = absl::StripAsciiWhitespace(line.substr(0, std::min(equals, line.size())));
  if (equals == absl::string_view::npos) return absl::StrCat("\"", key, "\" has no value; write key = value");
  if (key.empty() || key.find_first_of(" \t\"'#[]") != absl::string_view::npos) {
    return absl::StrCat("\"", key, "\" is not a key; write key = value");
  }
  entry->key = std::string(key);
  LineReader reader(line.substr(equals + 1));
  entry->is_list = reader.Take('[');
  if (entry->is_list && reader.Take(']')) return reader.AtEnd() ? "" : "there is text after the list";
  do {
    std::string value;
    const std::string problem = reader.TakeValue(&value);
    if (!problem.empty()) return absl::StrCat(key, ": ", problem);
    entry->values.push_back(std::move(value));
  } while (entry->is_list && reader.Take(','));
  if (entry->is_list && !reader.Take(']')) return absl::StrCat(key, ": the list has no end on its line");
  if (!reader.AtEnd()) return absl::StrCat(key, ": there is text after the value; put quotes around it");
  return "";
}

}  // namespace

absl::StatusOr<std::vector<ConfigFileEntry>> ParseConfigFile(absl::string_view file, absl::string_view text) {
  std::vector<ConfigFileEntry> entries;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    ConfigFileEntry entry;
    entry.line = number;
    const std::string problem =
        line[0] == '[' ? "sections are not used; write all keys at the top level" : ParseLine(line, &entry);
    if (!problem.empty()) return absl::InvalidArgumentError(absl::StrCat(file, ":", number, ": ", problem));
    for (const ConfigFileEntry& before : entries) {
      if (before.key == entry.key) {
        return absl::InvalidArgumentError(
            absl::StrCat(file, ":", number, ": ", entry.key, " was set before, on line ", before.line));
      }
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace embedd
