// SPDX-License-Identifier: Apache-2.0
//
// AdminServiceImpl: Offload and Reload, for callers on this machine or with a token.

#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "embedd/v1/admin_service.grpc.pb.h"
#include "server/rpc/road.h"

namespace embedd {

// What moving the weights did.
struct MoveReport {
  int64_t allocated_before = 0, allocated_after = 0;
  absl::Duration took;
};
// Starts the move on the devices and calls `done` once, from any thread, when it ended or will never: with a
// reason unless it is OK. Must not block.
using MoveDone = std::function<void(absl::StatusOr<MoveReport>, Reason)>;
using MoveModel = std::function<void(bool onto_device, MoveDone done)>;

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
