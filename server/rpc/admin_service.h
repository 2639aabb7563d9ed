// SPDX-License-Identifier: Apache-2.0
//
// AdminServiceImpl: Offload and Reload, for callers on this machine or with a token.

#pragma once

#include <functional>

#include "embedd/v1/admin_service.grpc.pb.h"
#include "server/rpc/road.h"
#include "server/telemetry/weights_move.h"

namespace embedd {

// Starts the move on the devices and calls `done` once, when it ended or will never. Must not block.
using MoveModel = std::function<void(bool onto_device, WeightsMoved done)>;

class AdminServiceImpl final : public v1::AdminService::CallbackService {
 public:
  // `road` must outlive this.
  AdminServiceImpl(Road* road, MoveModel move) : road_(road), move_(std::move(move)) {}

  grpc::ServerUnaryReactor* Offload(grpc::CallbackServerContext* context, const v1::OffloadRequest* request,
                                    v1::OffloadResponse* response) override;
  grpc::ServerUnaryReactor* Reload(grpc::CallbackServerContext* context, const v1::ReloadRequest* request,
                                   v1::ReloadResponse* response) override;

 private:
  template <typename Response>
  grpc::ServerUnaryReactor* Move(grpc::CallbackServerContext* context, bool onto_device, Response* response);

  Road* const road_;
  const MoveModel move_;
};

// Whether gRPC's name of a peer ("ipv4:127.0.0.1:1234", "ipv6:%5B::1%5D:1234", "unix:…") is this machine.
bool IsLocalPeer(const std::string& peer);

}  // namespace embedd
