// SPDX-License-Identifier: Apache-2.0
//
// Cuts a call into requests. Pure.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "embedd/client.h"

namespace embedd::client::internal {

// Inputs [first, first + count) of a call.
struct Part {
  size_t first = 0;
  size_t count = 0;
};

struct SplitLimits {
  size_t max_bytes = 0;   // >= 1
  size_t max_inputs = 0;  // >= 1
};

// Bytes that one input adds to a message beyond those of the image: tags, lengths and the sizes of raw
// pixels.
inline constexpr size_t kInputOverhead = 48;
// Bytes of a message beyond its inputs.
inline constexpr size_t kMessageOverhead = 256;

// Consecutive parts that cover every input once. Each is as large as fits; an input over `max_bytes` travels
// alone.
std::vector<Part> Split(std::span<const size_t> input_bytes, const SplitLimits& limits);

// What the options ask for, lowered to what the server takes: one message, one request, and all requests in
// flight together within its queue. Zero limits are limits that the server does not know yet.
SplitLimits LimitsFor(const Options& options, const ServerInfo::Limits& server);

}  // namespace embedd::client::internal
