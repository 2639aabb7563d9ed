// SPDX-License-Identifier: Apache-2.0
//
// ServerInfo out of its message.

#pragma once

#include "embedd/client.h"
#include "embedd/v1/embedding_service.pb.h"

namespace embedd::client::internal {

ServerInfo FromProto(const v1::GetServerInfoResponse& response);

}  // namespace embedd::client::internal
