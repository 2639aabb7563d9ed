// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/intake.h"

#include <functional>
#include <string>
#include <utility>

#include "server/rpc/request_checks.h"

namespace embedd {

int64_t RoadBytes(const v1::Input& input, const ModelSpec& model) {
  return ContentBytes(input) + PreparedBytes(model, TowerOf(input));
}

PrepareLoad LoadOf(const Road& road, const v1::Input& input) {
  if (input.has_text()) return PrepareLoad::OfText(input.text());
  if (!input.has_raw_image()) return PrepareLoad::OfFile(input.image(), road.limits.formats);
  return PrepareLoad::OfRaw(int64_t{input.raw_image().width()} * input.raw_image().height());
}

void StartIntake(Road* road, EmbedTask task, v1::Input& input, const PrepareLoad& load) {
  PrepareItem item{.task = std::move(task), .load = load};
  item.task.tower = TowerOf(input);
  if (input.has_text()) {
    item.bytes = std::move(*input.mutable_text());
  } else if (input.has_raw_image()) {
    item.width = static_cast<int>(input.raw_image().width());
    item.height = static_cast<int>(input.raw_image().height());
    item.bytes = std::move(*input.mutable_raw_image()->mutable_rgb());
  } else {
    item.bytes = std::move(*input.mutable_image());
  }
  road->prepare->Add(std::move(item));
}

void DropDead(Road* road, uint64_t flow) {
  road->prepare->DropDead(flow);
  road->queue->DropDead(flow);
}

uint64_t FlowOf(const grpc::ServerContextBase& context) {
  // gRPC has no name for a connection: peer() is "unix:" for all that come over Unix sockets. But each
  // handshake makes an auth context, also where nothing is encrypted, and calls show the properties in it
  // where they lie: while a call runs its connection's address is nobody else's.
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth != nullptr && auth->begin() != auth->end()) {
    return reinterpret_cast<uintptr_t>((*auth->begin()).second.data());
  }
  return std::hash<std::string>{}(context.peer());
}

}  // namespace embedd
