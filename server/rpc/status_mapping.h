// SPDX-License-Identifier: Apache-2.0
//
// The one place where our errors become gRPC codes, details and trailers.

#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <string>

#include "server/rpc/call_failure.h"

namespace embedd {

// google.rpc.Code of a status; the numbers of absl and of gRPC are the same.
int ToRpcCode(const absl::Status& status);

// The gRPC name of a code, e.g. "RESOURCE_EXHAUSTED".
std::string CodeName(int code);

// The status a caller gets: code, message and, in grpc-status-details-bin, google.rpc.ErrorInfo (domain
// embedd), with BadRequest for a field and RetryInfo for a retry. Adds the trailer grpc-retry-pushback-ms to
// `context` when `retry_after` is set: whole milliseconds, at least 1, or -1 for never.
grpc::Status ToGrpcStatus(const CallFailure& failure, grpc::ServerContextBase* context);

}  // namespace embedd
