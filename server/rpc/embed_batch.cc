// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/embed_batch.h"

#include <memory>
#include <utility>

#include "server/rpc/batch_call.h"
#include "server/rpc/intake.h"
#include "server/rpc/status_mapping.h"

namespace embedd {
namespace {

class EmbedBatchReactor final : public grpc::ServerUnaryReactor {
 public:
  EmbedBatchReactor(Road* road, grpc::CallbackServerContext* context, v1::EmbedBatchResponse* response)
      : road_(road),
        context_(context),
        response_(response),
        messages_(static_cast<BatchMessages*>(context->GetRpcAllocatorState())->shared_from_this()),
        call_(road, "EmbedBatch") {}

  // Called once, before gRPC can call anything else.
  void Start() {
    call_.Start(CallerOf(*road_, *context_), messages_->mutable_request(), messages_,
                [this](std::optional<CallFailure> failure, CallResult result) {
                  End(std::move(failure), std::move(result));
                });
  }

  void OnCancel() override { call_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  void End(std::optional<CallFailure> failure, CallResult result) {
    grpc::Status status;
    if (failure.has_value()) {
      status = ToGrpcStatus(*failure, context_);
    } else {
      FillResponse(std::move(result), call_.settings(), call_.model(), call_.fingerprint(), call_.inputs(),
                   call_.elapsed(), response_);
    }
    call_.CountEnd(status.error_code());
    AddLoadReport(*road_, status.ok() ? call_.embedded() : PerTower<int>(), context_);
    Finish(status);
  }

  Road* const road_;
  grpc::CallbackServerContext* const context_;
  v1::EmbedBatchResponse* const response_;
  const std::shared_ptr<BatchMessages> messages_;
  BatchCall call_;  // until OnDone: the answer has left by then
};

}  // namespace

grpc::ServerUnaryReactor* StartEmbedBatch(Road* road, grpc::CallbackServerContext* context,
                                          v1::EmbedBatchResponse* response) {
  auto* reactor = new EmbedBatchReactor(road, context, response);
  reactor->Start();
  return reactor;
}

}  // namespace embedd
