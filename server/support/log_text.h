// SPDX-License-Identifier: Apache-2.0
//
// How a log line is spelled. Used by log.cc only. Messages and values may hold anything, requests included:
// whatever they hold, the result is one line, and for JSON a valid object in UTF-8.

#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "server/support/log.h"

namespace embedd::log_text {

// "debug", "info", "warn" or "error".
std::string_view LevelName(LogLevel level);

// `s` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
std::string JsonString(std::string_view s);

// The members after the time, without braces: "level":"info","msg":"…","key":"value".
std::string JsonMembers(LogLevel level, std::string_view message, std::initializer_list<LogField> fields);

// The line after the time: "info  message  key=value key=\"a value\"". Control characters are escaped.
std::string Text(LogLevel level, std::string_view message, std::initializer_list<LogField> fields);

}  // namespace embedd::log_text
