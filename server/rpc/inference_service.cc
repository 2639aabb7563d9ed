// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/inference_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "server/rpc/batch_call.h"
#include "server/rpc/infer_message.h"
#include "server/rpc/status_mapping.h"
#include "server/support/version.h"

namespace embedd {
namespace {

using InferMessages = HeldMessages<inference::ModelInferRequest, inference::ModelInferResponse>;

// One ModelInfer. Owns itself.
class InferReactor final : public grpc::ServerUnaryReactor {
 public:
  InferReactor(Road* road, grpc::CallbackServerContext* context, inference::ModelInferResponse* response)
      : road_(road),
        context_(context),
        response_(response),
        messages_(static_cast<InferMessages*>(context->GetRpcAllocatorState())->shared_from_this()),
        call_(road, "ModelInfer") {}

  // Called once, before gRPC can call anything else.
  void Start() {
    inference::ModelInferRequest request;  // its bytes are copied: gone before they are on the road
    request.Swap(&messages_->mutable_request());
    BatchCall::Caller caller = CallerOf(*road_, *context_);
    const auto inputs = std::make_shared<v1::EmbedBatchRequest>();
    if (auto failure = Read(request, &caller, inputs.get())) {
      return End(call_.Refuse(*std::move(failure), std::max(1, inputs->inputs_size())), {});
    }
    id_ = request.id();
    inference::ModelInferRequest().Swap(&request);
    call_.Start(caller, *inputs, inputs, [this](std::optional<CallFailure> failure, CallResult result) {
      End(std::move(failure), std::move(result));
    });
  }

  void OnCancel() override { call_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  std::optional<CallFailure> Read(const inference::ModelInferRequest& request, BatchCall::Caller* caller,
                                  v1::EmbedBatchRequest* inputs) {
    if (!caller->allowed) return Unauthenticated();
    if (auto failure = CheckServing(*road_)) return failure;
    absl::Duration timeout = absl::InfiniteDuration();
    if (auto failure = ReadInfer(request, *road_->model.load(), road_->limits, inputs, &timeout)) {
      return failure;
    }
    caller->deadline = std::min(caller->deadline, road_->clock->TimeNow() + timeout);
    return std::nullopt;
  }

  void End(std::optional<CallFailure> failure, CallResult result) {
    if (!failure.has_value() && !result.failures.empty()) failure = JoinFailures(result.failures);
    grpc::Status status;
    if (failure.has_value()) {
      status = ToGrpcStatus(*failure, context_);
    } else {
      FillInfer(std::move(result), call_.model(), call_.inputs(), call_.fingerprint(), std::move(id_),
                response_);
    }
    call_.CountEnd(status.error_code());
    AddLoadReport(*road_, status.ok() ? call_.embedded() : PerTower<int>(), context_);
    Finish(status);
  }

  Road* const road_;
  grpc::CallbackServerContext* const context_;
  inference::ModelInferResponse* const response_;
  const std::shared_ptr<InferMessages> messages_;
  std::string id_;
  BatchCall call_;  // until OnDone: the answer has left by then
};

}  // namespace

grpc::ServerUnaryReactor* InferenceServiceImpl::ModelInfer(grpc::CallbackServerContext* context,
                                                           const inference::ModelInferRequest*,
                                                           inference::ModelInferResponse* response) {
  auto* reactor = new InferReactor(road_, context, response);
  reactor->Start();
  return reactor;
}

grpc::ServerUnaryReactor* InferenceServiceImpl::Answer(grpc::CallbackServerContext* context,
                                                       const char* method,
                                                       std::optional<CallFailure> failure) {
  const absl::Time start = road_->clock->TimeNow();
  if (!road_->tokens->Allows(*context)) failure = Unauthenticated();
  grpc::Status status;
  if (failure.has_value()) {
    road_->metrics->CountRejected(failure->reason);
    status = ToGrpcStatus(*failure, context);
  }
  road_->metrics->CountRequest(method, CodeName(status.error_code()), road_->clock->TimeNow() - start);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

grpc::ServerUnaryReactor* InferenceServiceImpl::ServerLive(grpc::CallbackServerContext* context,
                                                           const inference::ServerLiveRequest*,
                                                           inference::ServerLiveResponse* response) {
  response->set_live(true);
  return Answer(context, "ServerLive", std::nullopt);
}

grpc::ServerUnaryReactor* InferenceServiceImpl::ServerReady(grpc::CallbackServerContext* context,
                                                            const inference::ServerReadyRequest*,
                                                            inference::ServerReadyResponse* response) {
  response->set_ready(road_->state->serving());
  return Answer(context, "ServerReady", std::nullopt);
}

grpc::ServerUnaryReactor* InferenceServiceImpl::ModelReady(grpc::CallbackServerContext* context,
                                                           const inference::ModelReadyRequest* request,
                                                           inference::ModelReadyResponse* response) {
  const ModelSpec* model = road_->model.load();
  response->set_ready(model != nullptr && road_->state->serving() &&
                      !CheckModelName(request->name(), request->version(), *model));
  return Answer(context, "ModelReady", std::nullopt);
}

grpc::ServerUnaryReactor* InferenceServiceImpl::ServerMetadata(grpc::CallbackServerContext* context,
                                                               const inference::ServerMetadataRequest*,
                                                               inference::ServerMetadataResponse* response) {
  response->set_name("embedd");
  response->set_version(std::string(Version()));
  return Answer(context, "ServerMetadata", std::nullopt);
}

grpc::ServerUnaryReactor* InferenceServiceImpl::ModelMetadata(grpc::CallbackServerContext* context,
                                                              const inference::ModelMetadataRequest* request,
                                                              inference::ModelMetadataResponse* response) {
  std::optional<CallFailure> failure;
  if (const ModelSpec* model = road_->model.load()) {
    failure = CheckModelName(request->name(), request->version(), *model);
    if (!failure && road_->tokens->Allows(*context)) FillModelMetadata(*model, response);
  } else {
    failure = CheckServing(*road_);
  }
  return Answer(context, "ModelMetadata", std::move(failure));
}

}  // namespace embedd
