// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/trace.h"

#include <algorithm>

namespace embedd {
namespace {

// Of version 00; a later version begins the same way.
constexpr size_t kLength = 55;

int Digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool ReadHex(std::string_view text, absl::Span<uint8_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = Digit(text[2 * i]), low = Digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

bool AllZero(absl::Span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

}  // namespace

std::optional<TraceContext> ParseTraceParent(std::string_view header) {
  if (header.size() < kLength || header[2] != '-' || header[35] != '-' || header[52] != '-') return {};
  std::array<uint8_t, 1> version = {}, flags = {};
  TraceContext trace;
  if (!ReadHex(header, absl::MakeSpan(version)) ||
      !ReadHex(header.substr(3), absl::MakeSpan(trace.trace_id)) ||
      !ReadHex(header.substr(36), absl::MakeSpan(trace.parent_id)) ||
      !ReadHex(header.substr(53), absl::MakeSpan(flags))) {
    return {};
  }
  const bool later = version[0] != 0;
  if (version[0] == 0xff || (header.size() > kLength && (!later || header[kLength] != '-'))) return {};
  if (AllZero(trace.trace_id) || AllZero(trace.parent_id)) return {};
  trace.sampled = (flags[0] & 1) != 0;
  return trace;
}

std::string HexOf(absl::Span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

}  // namespace embedd
