// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/admin_service.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "server/rpc/request_checks.h"
#include "server/rpc/status_mapping.h"

namespace embedd {
namespace {

// The tokens decide where there are tokens; else being on the same machine does.
std::optional<CallFailure> CheckOperator(const Road& road, const grpc::CallbackServerContext& context) {
  if (!road.tokens->Allows(context)) return Unauthenticated();
  if (!road.tokens->Required() && !IsLocalPeer(context.peer())) {
    return CallFailure{
        .status = absl::PermissionDeniedError("only callers on the server's own machine may do this; "
                                              "set --token-file to allow others with a token"),
        .reason = Reason::kNotLocal};
  }
  return CheckServing(road);
}

}  // namespace

bool IsLocalPeer(const std::string& peer) {
  return absl::StartsWith(peer, "unix:") || absl::StartsWith(peer, "ipv4:127.") ||
         absl::StartsWith(peer, "ipv6:[::1]") || absl::StartsWith(peer, "ipv6:%5B::1%5D") ||
         absl::StartsWith(peer, "ipv6:[::ffff:127.") || absl::StartsWith(peer, "ipv6:%5B::ffff:127.");
}

template <typename Response>
grpc::ServerUnaryReactor* AdminServiceImpl::Move(grpc::CallbackServerContext* context, bool onto_device,
                                                 Response* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (auto failure = CheckOperator(*road_, *context)) {
    reactor->Finish(ToGrpcStatus(*failure, context));
    return reactor;
  }
  move_(onto_device, [reactor, context, response](absl::StatusOr<WeightsMove> moved, Reason reason) {
    if (!moved.ok()) {
      reactor->Finish(ToGrpcStatus({.status = moved.status(), .reason = reason}, context));
      return;
    }
    response->set_allocated_before(static_cast<uint64_t>(moved->allocated_before));
    response->set_allocated_after(static_cast<uint64_t>(moved->allocated_after));
    response->set_took_ns(absl::ToInt64Nanoseconds(moved->took));
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminServiceImpl::Offload(grpc::CallbackServerContext* context,
                                                    const v1::OffloadRequest*,
                                                    v1::OffloadResponse* response) {
  return Move(context, /*onto_device=*/false, response);
}

grpc::ServerUnaryReactor* AdminServiceImpl::Reload(grpc::CallbackServerContext* context,
                                                   const v1::ReloadRequest*, v1::ReloadResponse* response) {
  return Move(context, /*onto_device=*/true, response);
}

}  // namespace embedd
