// SPDX-License-Identifier: Apache-2.0
//
// What GetServerInfo tells, and how it is written into its message.

#pragma once

#include <functional>

#include "embedd/v1/embedding_service.pb.h"
#include "server/rpc/road.h"
#include "server/telemetry/server_facts.h"

namespace embedd {

// The part that the rpc stage cannot know by itself. Asked at each call.
using FactsSource = std::function<ServerFacts()>;

void FillServerInfo(const Road& road, const ServerFacts& facts, v1::GetServerInfoResponse* info);

}  // namespace embedd
