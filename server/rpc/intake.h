// SPDX-License-Identifier: Apache-2.0
//
// Intake: the way of an input from its message into the pool that prepares it. Shared by EmbedBatch and
// EmbedStream; behind it nobody knows of protobuf. Runs on gRPC threads.

#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>

#include "embedd/v1/embedding_service.pb.h"
#include "server/rpc/road.h"

namespace embedd {

// Bytes that an input takes on the road: its content until it is prepared, and what it becomes.
int64_t RoadBytes(const v1::Input& input, const ModelSpec& model);

// What is known, before it is prepared, of what that will cost.
PrepareLoad LoadOf(const Road& road, const v1::Input& input);

// Sends `input` on its way as `task`. Its content is moved out of the message.
void StartIntake(Road* road, EmbedTask task, v1::Input& input, const PrepareLoad& load);

// Answers, now, what waits anywhere on the road for a dead call of this flow.
void DropDead(Road* road, uint64_t flow);

// The flow of a call: one for each connection, on TCP and on Unix sockets. Two connections may share one
// after one of them was closed, never while both are open.
uint64_t FlowOf(const grpc::ServerContextBase& context);

}  // namespace embedd
