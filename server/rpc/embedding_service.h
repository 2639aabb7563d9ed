// SPDX-License-Identifier: Apache-2.0
//
// EmbeddingServiceImpl: the methods of embedd.v1.EmbeddingService, each handed to the file that does it.

#pragma once

#include "embedd/v1/embedding_service.grpc.pb.h"
#include "server/rpc/embed_batch.h"
#include "server/rpc/embed_stream.h"
#include "server/rpc/server_info.h"

namespace embedd {

// As the generated CallbackService, but for EmbedStream.
using EmbeddingServiceBase = v1::EmbeddingService::WithCallbackMethod_EmbedBatch<
    v1::EmbeddingService::WithRawCallbackMethod_EmbedStream<
        v1::EmbeddingService::WithCallbackMethod_GetServerInfo<v1::EmbeddingService::Service>>>;

class EmbeddingServiceImpl final : public EmbeddingServiceBase {
 public:
  // `road` must outlive this.
  EmbeddingServiceImpl(Road* road, FactsSource facts);

  grpc::ServerUnaryReactor* EmbedBatch(grpc::CallbackServerContext* context,
                                       const v1::EmbedBatchRequest* request,
                                       v1::EmbedBatchResponse* response) override;
  StreamReactor* EmbedStream(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;

  OpenStreams& open_streams() { return open_streams_; }

 private:
  Road* const road_;
  const FactsSource facts_;
  OpenStreams open_streams_;
  HoldMessages<v1::EmbedBatchRequest, v1::EmbedBatchResponse> batch_messages_;
};

}  // namespace embedd
