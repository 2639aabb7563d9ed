// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/call_trace.h"

namespace embedd {

std::optional<TraceContext> TraceOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("traceparent");
  if (found == metadata.end()) return {};
  return ParseTraceParent({found->second.data(), found->second.size()});
}

}  // namespace embedd
