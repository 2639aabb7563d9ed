// SPDX-License-Identifier: Apache-2.0
//
// TraceContext: the place of a call in a trace of its caller, as the header `traceparent` of W3C Trace
// Context gives it. Plain data; whoever wants to say which request a line or a batch belongs to uses it.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace embedd {

struct TraceContext {
  std::array<uint8_t, 16> trace_id = {};
  std::array<uint8_t, 8> parent_id = {};  // the caller's span
  bool sampled = false;                   // somebody keeps this trace

  bool operator==(const TraceContext&) const = default;
};

// "00-<trace>-<parent>-<flags>" in lower-case hexadecimal digits, or what a later version puts in front of
// more. Nothing for anything else: a header that is wrong is as good as none.
std::optional<TraceContext> ParseTraceParent(std::string_view header);

// In lower-case hexadecimal digits.
std::string HexOf(absl::Span<const uint8_t> bytes);

}  // namespace embedd
