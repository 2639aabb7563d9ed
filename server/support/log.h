// SPDX-License-Identifier: Apache-2.0
//
// Logging: one line per event on stderr, text on a terminal, JSON otherwise (--log-format). The sink is
// spdlog, hidden here so that files which see LibTorch's old fmt headers can log too. Thread-safe. Never log
// secrets or image bytes.

#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace embedd {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// A named value beside the message: {"batch", absl::StrCat(id)}.
using LogField = std::pair<std::string_view, std::string>;

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

inline void LogInfo(std::string_view m, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kInfo, m, f);
}
inline void LogWarn(std::string_view m, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kWarn, m, f);
}
inline void LogError(std::string_view m, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kError, m, f);
}
// Whether LogDebug writes anything: ask before making the fields of a line on a road that is often used.
bool LogsDebug();
inline void LogDebug(std::string_view m, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kDebug, m, f);
}

// Sets level ("debug", "info", "warn", "error") and format ("text", "json", "auto"). Called once by main;
// before that everything from info up goes out as text.
void ConfigureLogging(std::string_view level, std::string_view format);

}  // namespace embedd
