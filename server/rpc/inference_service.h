// SPDX-License-Identifier: Apache-2.0
//
// InferenceServiceImpl: the Open Inference Protocol v2 on the gRPC port, for clients of KServe and Triton.
// ModelInfer takes the road of EmbedBatch (BatchCall).

#pragma once

#include <optional>

#include "inference/grpc_service.grpc.pb.h"
#include "server/rpc/call_failure.h"
#include "server/rpc/held_messages.h"
#include "server/rpc/road.h"

namespace embedd {

class InferenceServiceImpl final : public inference::GRPCInferenceService::CallbackService {
 public:
  // `road` must outlive this.
  explicit InferenceServiceImpl(Road* road) : road_(road) { SetMessageAllocatorFor_ModelInfer(&messages_); }

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const inference::ServerLiveRequest* request,
                                       inference::ServerLiveResponse* response) override;
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const inference::ServerReadyRequest* request,
                                        inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const inference::ServerMetadataRequest* request,
                                           inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override;

 private:
  // Answers at once: with what `failure` says, or OK.
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const char* method,
                                   std::optional<CallFailure> failure);

  Road* const road_;
  HoldMessages<inference::ModelInferRequest, inference::ModelInferResponse> messages_;
};

}  // namespace embedd
