// SPDX-License-Identifier: Apache-2.0
//
// Two loggers over one stderr sink each, one per format; the current one is an atomic pointer, so a line
// never waits for ConfigureLogging. Both live as long as the process: threads may still log while it exits.

#include "server/support/log.h"

#include <unistd.h>

#include <atomic>
#include <memory>

#include "absl/strings/str_cat.h"
#include "server/support/log_text.h"
#include "spdlog/logger.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace embedd {
namespace {

struct Backend {
  bool json;
  spdlog::logger logger;

  Backend(bool as_json, const char* pattern)
      : json(as_json), logger("embedd", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger.set_formatter(
        std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc));
    logger.set_level(spdlog::level::trace);  // the level is checked before the line is built
    logger.flush_on(spdlog::level::trace);
  }
};

Backend* TextBackend() {
  static Backend* const backend = new Backend(false, "%Y-%m-%dT%H:%M:%S.%eZ %v");
  return backend;
}

Backend* JsonBackend() {
  static Backend* const backend = new Backend(true, R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ",%v})");
  return backend;
}

std::atomic<Backend*> current{nullptr};  // null: text, see Log
std::atomic<LogLevel> lowest{LogLevel::kInfo};

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (level < lowest.load(std::memory_order_relaxed)) return;
  try {
    Backend* backend = current.load(std::memory_order_acquire);
    if (backend == nullptr) backend = TextBackend();
    const std::string line = backend->json ? log_text::JsonMembers(level, message, fields)
                                           : log_text::Text(level, message, fields);
    backend->logger.log(SpdlogLevel(level), spdlog::string_view_t(line.data(), line.size()));
  } catch (...) {  // out of memory: losing a line is better than losing the caller
  }
}

bool LogsDebug() { return lowest.load(std::memory_order_relaxed) == LogLevel::kDebug; }

void ConfigureLogging(std::string_view level, std::string_view format) {
  if (level == "debug") {
    lowest = LogLevel::kDebug;
  } else if (level == "warn") {
    lowest = LogLevel::kWarn;
  } else if (level == "error") {
    lowest = LogLevel::kError;
  } else {
    lowest = LogLevel::kInfo;
  }
  const bool json = format == "json" || (format != "text" && isatty(STDERR_FILENO) == 0);
  current.store(json ? JsonBackend() : TextBackend(), std::memory_order_release);
}

}  // namespace embedd
