// SPDX-License-Identifier: Apache-2.0
//
// The trace that a call of gRPC belongs to, out of its header. Shared by the doors.

#pragma once

#include <grpcpp/server_context.h>

#include <optional>

#include "server/telemetry/trace.h"

namespace embedd {

// What `traceparent` of the caller says; nothing without one that is right.
std::optional<TraceContext> TraceOf(const grpc::ServerContextBase& context);

}  // namespace embedd
