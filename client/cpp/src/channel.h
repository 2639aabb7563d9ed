// SPDX-License-Identifier: Apache-2.0
//
// Opens a gRPC channel the way embedd needs it: message sizes, retry buffer, quick reconnects, TLS.

#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "embedd/client.h"
#include "grpcpp/channel.h"

namespace embedd::client::internal {

// `own_connection`: a connection of its own instead of one shared by all channels to the same target.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const Options& options,
                                                           bool own_connection = false);

}  // namespace embedd::client::internal
