// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/split.h"

#include <algorithm>
#include <cstdint>

namespace embedd::client::internal {

std::vector<Part> Split(std::span<const size_t> input_bytes, const SplitLimits& limits) {
  std::vector<Part> parts;
  size_t bytes = 0;
  for (size_t i = 0; i < input_bytes.size(); ++i) {
    const size_t more = input_bytes[i] + kInputOverhead;
    // `bytes` may be over the limit already (one large input), so no difference of the two is taken.
    const bool fits = !parts.empty() && parts.back().count < limits.max_inputs && more <= limits.max_bytes &&
                      bytes <= limits.max_bytes - more;
    if (!fits) {
      parts.push_back({i, 0});
      bytes = 0;
    }
    ++parts.back().count;
    bytes += more;
  }
  return parts;
}

SplitLimits LimitsFor(const Options& options, const ServerInfo::Limits& server) {
  const auto in_flight = static_cast<uint64_t>(options.max_in_flight);
  uint64_t bytes = options.max_request_bytes;
  uint64_t inputs = options.max_request_images;
  if (server.max_message_bytes > 0) {
    bytes = std::min(
        bytes, server.max_message_bytes - std::min<uint64_t>(server.max_message_bytes, kMessageOverhead));
  }
  if (server.queue_bytes > 0) bytes = std::min(bytes, server.queue_bytes / in_flight);
  if (server.max_inputs_per_request > 0) inputs = std::min<uint64_t>(inputs, server.max_inputs_per_request);
  if (server.queue_images > 0) inputs = std::min(inputs, server.queue_images / in_flight);
  return {.max_bytes = static_cast<size_t>(std::max<uint64_t>(bytes, 1)),
          .max_inputs = static_cast<size_t>(std::max<uint64_t>(inputs, 1))};
}

}  // namespace embedd::client::internal
