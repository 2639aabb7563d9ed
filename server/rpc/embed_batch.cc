// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/embed_batch.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/reply/pending_call.h"
#include "server/rpc/admission.h"
#include "server/rpc/answer_place.h"
#include "server/rpc/batch_response.h"
#include "server/rpc/intake.h"
#include "server/rpc/request_checks.h"
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
        arrived_(road->clock->TimeNow()) {
    road_->live_calls.Enter();
  }

  // Refuses the call or sets it on its way. Called once, before gRPC can call anything else.
  void Start() {
    v1::EmbedBatchRequest& request = messages_->mutable_request();
    inputs_ = request.inputs_size();
    if (auto failure = CheckCall(request)) return Refuse(*failure);
    model_ = road_->model.load();

    // Inputs that fail alone are answered without a place; the others reserve theirs, all or nothing.
    std::vector<int64_t> bytes(static_cast<size_t>(inputs_), -1);
    std::vector<std::optional<InputRefusal>> refusals(static_cast<size_t>(inputs_));
    std::vector<PrepareLoad> loads(static_cast<size_t>(inputs_));
    Work work{.lane = settings_.lane};
    int64_t all_bytes = 0;
    for (int i = 0; i < inputs_; ++i) {
      refusals[i] = RefuseInput(request.inputs(i), road_->limits, *model_);
      if (refusals[i].has_value()) continue;
      bytes[i] = RoadBytes(request.inputs(i), *model_);
      all_bytes += bytes[i];
      loads[i] = LoadOf(*road_, request.inputs(i));
      work.prepare += road_->prepare_cost->Of(loads[i]);
      ++work.images;
    }
    if (auto failure = CheckDeadline(*road_, work, deadline())) return Refuse(*failure);
    const int64_t answer_bytes = AnswerBytes(inputs_, settings_, *model_);
    absl::StatusOr<Places> places = road_->budget->Reserve(work.images, all_bytes + answer_bytes);
    if (!places.ok()) return Refuse(QueueFull(places.status(), *road_, work.images));
    answer_ = AnswerPlace(places->Take(0, answer_bytes), &road_->answer_bytes);

    flow_ = FlowOf(*context_);
    call_ = std::make_shared<PendingCall>(
        PendingCall::Options{.inputs = static_cast<uint32_t>(inputs_),
                             .dimension = model_->dimension,
                             .encoding = settings_.encoding == v1::ENCODING_FLOAT16 ? RowEncoding::kFloat16
                                                                                    : RowEncoding::kFloat32,
                             .normalize = settings_.normalize},
        road_->metrics, [this](CallResult result) { OnResult(std::move(result)); });
    // From the last input on the call may end, and this reactor with it: only locals are used in the loop.
    const std::shared_ptr<PendingCall> call = call_;
    const std::shared_ptr<BatchMessages> messages = messages_;
    Road* const road = road_;
    const Lane lane = settings_.lane;
    const uint64_t flow = flow_;
    const absl::Time until = deadline();
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (refusals[i].has_value()) {
        messages->mutable_request().mutable_inputs(static_cast<int>(i))->clear_content();
        road->metrics->CountRejected(refusals[i]->reason);
        call->OnAnswer(static_cast<uint32_t>(i),
                       Answer::Failure(Outcome::kRejected, refusals[i]->status, refusals[i]->reason));
        continue;
      }
      EmbedTask task(call, static_cast<uint32_t>(i));
      task.place = places->Take(1, bytes[i]);
      task.lane = lane;
      task.flow = flow;
      task.deadline = until;
      StartIntake(road, std::move(task), *messages->mutable_request().mutable_inputs(static_cast<int>(i)),
                  loads[i]);
    }
  }

  void OnCancel() override {
    if (call_ == nullptr) return;
    call_->Cancel();
    DropDead(road_, flow_);
  }

  void OnDone() override {
    road_->live_calls.Leave();
    delete this;
  }

 private:
  std::optional<CallFailure> CheckCall(const v1::EmbedBatchRequest& request) {
    if (!road_->tokens->Allows(*context_)) return Unauthenticated();
    if (auto failure = CheckServing(*road_)) return failure;
    if (auto failure = CheckRequest(request, road_->limits)) return failure;
    const std::optional<bool> normalize =
        request.has_normalize() ? std::optional<bool>(request.normalize()) : std::nullopt;
    if (auto failure = ReadSettings(request.encoding(), normalize, request.priority(),
                                    request.expect_fingerprint(), &settings_)) {
      return failure;
    }
    const Kinds kinds = KindsOf(request);
    const ModelSpec& model = *road_->model.load();
    fingerprint_ = FingerprintOf(model, kinds);
    return CheckFingerprint(settings_.expect_fingerprint, model, kinds);
  }

  absl::Time deadline() {
    if (deadline_ == absl::InfinitePast()) deadline_ = RoadDeadline(*road_, context_->deadline());
    return deadline_;
  }

  // The call fails before any input is on the road.
  void Refuse(const CallFailure& failure) {
    road_->metrics->CountImages(RefusalOutcome(failure), inputs_);
    road_->metrics->CountRejected(failure.reason);
    v1::EmbedBatchRequest().Swap(
        &messages_->mutable_request());  // frees it; the caller may take long to read
    End(ToGrpcStatus(failure, context_));
  }

  void OnResult(CallResult result) {
    if (!result.status.ok()) {
      answer_.Release();
      return End(ToGrpcStatus(CutOff(*road_, std::move(result.status), result.reason), context_));
    }
    FillResponse(std::move(result), settings_, *model_, std::move(fingerprint_), inputs_,
                 road_->clock->TimeNow() - arrived_, response_);
    End(grpc::Status::OK);
  }

  void End(const grpc::Status& status) {
    road_->metrics->CountRequest("EmbedBatch", CodeName(status.error_code()),
                                 road_->clock->TimeNow() - arrived_);
    AddLoadReport(*road_, status.ok() ? inputs_ : 0, context_);
    Finish(status);
  }

  Road* const road_;
  grpc::CallbackServerContext* const context_;
  v1::EmbedBatchResponse* const response_;
  const std::shared_ptr<BatchMessages> messages_;
  const absl::Time arrived_;
  absl::Time deadline_ = absl::InfinitePast();
  int inputs_ = 0;
  uint64_t flow_ = 0;
  CallSettings settings_;
  const ModelSpec* model_ = nullptr;
  std::string fingerprint_;  // of the answer
  std::shared_ptr<PendingCall> call_;
  AnswerPlace answer_;  // until OnDone
};

}  // namespace

grpc::ServerUnaryReactor* StartEmbedBatch(Road* road, grpc::CallbackServerContext* context,
                                          v1::EmbedBatchResponse* response) {
  auto* reactor = new EmbedBatchReactor(road, context, response);
  reactor->Start();
  return reactor;
}

}  // namespace embedd
