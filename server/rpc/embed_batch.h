// SPDX-License-Identifier: Apache-2.0
//
// EmbedBatch: one unary call from arrival to answer. Check, authenticate, reserve places, hand on; the answer
// comes back through a PendingCall. Nothing here blocks.

#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "embedd/v1/embedding_service.pb.h"
#include "server/rpc/held_messages.h"
#include "server/rpc/road.h"

namespace embedd {

using BatchMessages = HeldMessages<v1::EmbedBatchRequest, v1::EmbedBatchResponse>;

// Starts the call. The reactor owns itself.
grpc::ServerUnaryReactor* StartEmbedBatch(Road* road, grpc::CallbackServerContext* context,
                                          v1::EmbedBatchResponse* response);

}  // namespace embedd
