// SPDX-License-Identifier: Apache-2.0
//
// Opens a gRPC channel the way embedd needs it: message sizes, retry buffer, quick reconnects, TLS.

#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/src/target.h"
#include "embedd/client.h"
#include "grpcpp/channel.h"

namespace embedd::client::internal {

// The targets of `options`, with the servers behind each counted. INVALID_ARGUMENT when there is none.
absl::StatusOr<std::vector<Target>> TargetsOf(const Options& options);

// `own_connection`: a connection of its own instead of one shared by all channels to the same target.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const Options& options, const Target& target,
                                                           bool own_connection = false);

// Whether connections to `target` use TLS.
bool UsesTls(const Options& options, const Target& target);

}  // namespace embedd::client::internal
