// SPDX-License-Identifier: Apache-2.0
//
// HealthService: grpc.health.v1 Check and Watch for "" and "embedd.v1.EmbeddingService", both telling
// StateBoard's truth. Our own, because gRPC's default service says SERVING from its start until somebody
// corrects it. Needs no token.

#pragma once

#include <memory>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/support/mutex.h"
#include "server/telemetry/server_state.h"

namespace embedd {

class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  // Follows `state`, which must outlive this.
  explicit HealthService(StateBoard* state);
  ~HealthService() override;

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context, const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  class Watchers;
  StateBoard* const state_;
  const std::shared_ptr<Watchers> watchers_;
};

}  // namespace embedd
