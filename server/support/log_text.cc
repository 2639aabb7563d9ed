// SPDX-License-Identifier: Apache-2.0

#include "server/support/log_text.h"

#include <cstdint>
#include <cstdio>

#include "server/support/utf8.h"

namespace embedd::log_text {
namespace {

// Appends `s` with quotes, backslashes and control characters escaped as JSON does; text uses the same
// escapes.
void AppendEscaped(std::string_view s, bool escape_quotes, std::string* out) {
  while (!s.empty()) {
    const size_t length = Utf8Length(absl::string_view(s.data(), s.size()));
    if (length == 0) {
      out->append("\xEF\xBF\xBD");
      s.remove_prefix(1);
      continue;
    }
    const char c = s[0];
    if (c == '"' || c == '\\') {
      if (escape_quotes) out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (length == 1 && (static_cast<uint8_t>(c) < 0x20 || c == 0x7F)) {
      char buffer[8];
      std::snprintf(buffer, sizeof(buffer), "\\u%04x", static_cast<unsigned>(static_cast<uint8_t>(c)));
      out->append(buffer);
    } else {
      out->append(s.substr(0, length));
    }
    s.remove_prefix(length);
  }
}

bool NeedsQuotes(std::string_view value) {
  if (value.empty()) return true;
  for (const char c : value) {
    if (static_cast<uint8_t>(c) <= 0x20 || c == '"' || c == '=' || c == 0x7F) return true;
  }
  return false;
}

}  // namespace

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

std::string JsonString(std::string_view s) {
  std::string out = "\"";
  AppendEscaped(s, true, &out);
  out.push_back('"');
  return out;
}

std::string JsonMembers(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  std::string out = "\"level\":";
  out.append(JsonString(LevelName(level))).append(",\"msg\":").append(JsonString(message));
  for (const LogField& field : fields) {
    out.append(",").append(JsonString(field.first)).append(":").append(JsonString(field.second));
  }
  return out;
}

std::string Text(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  std::string out(LevelName(level));
  out.append(7 - out.size(), ' ');  // messages start in one column
  AppendEscaped(message, false, &out);
  for (const LogField& field : fields) {
    out.append("  ").append(field.first).append("=");
    if (NeedsQuotes(field.second)) {
      out.append(JsonString(field.second));
    } else {
      AppendEscaped(field.second, false, &out);
    }
  }
  return out;
}

}  // namespace embedd::log_text
