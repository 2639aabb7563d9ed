// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/embedding_service.h"

#include <utility>

#include "server/rpc/request_checks.h"
#include "server/rpc/status_mapping.h"

namespace embedd {

EmbeddingServiceImpl::EmbeddingServiceImpl(Road* road, FactsSource facts)
    : road_(road), facts_(std::move(facts)) {
  SetMessageAllocatorFor_EmbedBatch(&batch_messages_);
}

grpc::ServerUnaryReactor* EmbeddingServiceImpl::EmbedBatch(grpc::CallbackServerContext* context,
                                                           const v1::EmbedBatchRequest*,
                                                           v1::EmbedBatchResponse* response) {
  return StartEmbedBatch(road_, context, response);
}

StreamReactor* EmbeddingServiceImpl::EmbedStream(grpc::CallbackServerContext* context) {
  return StartEmbedStream(road_, &open_streams_, context);
}

grpc::ServerUnaryReactor* EmbeddingServiceImpl::GetServerInfo(grpc::CallbackServerContext* context,
                                                              const v1::GetServerInfoRequest*,
                                                              v1::GetServerInfoResponse* response) {
  const absl::Time start = road_->clock->TimeNow();
  grpc::Status status;
  if (road_->tokens->Allows(*context)) {
    FillServerInfo(*road_, facts_(), response);
  } else {
    road_->metrics->CountRejected(Unauthenticated().reason);
    status = ToGrpcStatus(Unauthenticated(), context);
  }
  road_->metrics->CountRequest("GetServerInfo", CodeName(status.error_code()),
                               road_->clock->TimeNow() - start);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

}  // namespace embedd
