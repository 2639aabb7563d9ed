// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/batch_call.h"

#include <utility>
#include <vector>

#include "server/rpc/call_trace.h"
#include "server/rpc/intake.h"
#include "server/rpc/status_mapping.h"

namespace embedd {

BatchCall::BatchCall(Road* road, const char* method)
    : road_(road), method_(method), arrived_(road->clock->TimeNow()) {
  road_->live_calls.Enter();
}

BatchCall::~BatchCall() { road_->live_calls.Leave(); }

void BatchCall::Start(const Caller& caller, v1::EmbedBatchRequest& request, std::shared_ptr<void> hold,
                      Done done) {
  inputs_ = request.inputs_size();
  trace_ = caller.trace;
  const auto refuse = [&](CallFailure failure) {
    v1::EmbedBatchRequest().Swap(&request);  // the caller may take long to read why
    done(Refuse(std::move(failure), inputs_), {});
  };
  if (auto failure = Check(caller, request)) return refuse(*std::move(failure));

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
    ++work.inputs[TowerOf(request.inputs(i))];
  }
  if (auto failure = CheckDeadline(*road_, work, caller.deadline)) return refuse(*std::move(failure));
  const int64_t answer_bytes = AnswerBytes(inputs_, settings_, *model_);
  absl::StatusOr<AnswerPlace> answer = road_->answers.Reserve(caller.flow, answer_bytes);
  if (!answer.ok()) return refuse(QueueFull(answer.status(), *road_, work.all()));
  absl::StatusOr<Places> places = road_->budget->Reserve(work.all(), all_bytes + answer_bytes);
  if (!places.ok()) return refuse(QueueFull(places.status(), *road_, work.all()));
  embedded_ = work.inputs;
  answer->Hold(places->Take(0, answer_bytes));
  answer_ = *std::move(answer);

  flow_ = caller.flow;
  done_ = std::move(done);
  call_ = std::make_shared<PendingCall>(PendingCall::Options{.inputs = static_cast<uint32_t>(inputs_),
                                                             .dimension = model_->dimension,
                                                             .encoding = RowsOf(settings_),
                                                             .normalize = settings_.normalize,
                                                             .trace = trace_},
                                        road_->metrics,
                                        [this](CallResult result) { OnResult(std::move(result)); });
  // From the last input on the call may end, and this with it: only locals are used in the loop.
  const std::shared_ptr<PendingCall> call = call_;
  const std::shared_ptr<void> held = std::move(hold);
  Road* const road = road_;
  const Lane lane = settings_.lane;
  for (size_t i = 0; i < bytes.size(); ++i) {
    v1::Input& input = *request.mutable_inputs(static_cast<int>(i));
    if (refusals[i].has_value()) {
      input.clear_content();
      road->metrics->CountRejected(refusals[i]->reason);
      call->OnAnswer(static_cast<uint32_t>(i),
                     Answer::Failure(Outcome::kRejected, refusals[i]->status, refusals[i]->reason));
      continue;
    }
    EmbedTask task(call, static_cast<uint32_t>(i));
    task.place = places->Take(1, bytes[i]);
    task.lane = lane;
    task.flow = caller.flow;
    task.deadline = caller.deadline;
    StartIntake(road, std::move(task), input, loads[i]);
  }
}

std::optional<CallFailure> BatchCall::Check(const Caller& caller, const v1::EmbedBatchRequest& request) {
  if (!caller.allowed) return Unauthenticated();
  if (auto failure = CheckServing(*road_)) return failure;
  if (auto failure = CheckRequest(request, road_->limits)) return failure;
  const std::optional<bool> normalize =
      request.has_normalize() ? std::optional<bool>(request.normalize()) : std::nullopt;
  if (auto failure = ReadSettings(request.encoding(), normalize, request.priority(),
                                  request.expect_fingerprint(), &settings_)) {
    return failure;
  }
  model_ = road_->model.load();
  const Kinds kinds = KindsOf(request);
  fingerprint_ = FingerprintOf(*model_, kinds);
  return CheckFingerprint(settings_.expect_fingerprint, *model_, kinds);
}

CallFailure BatchCall::Refuse(CallFailure failure, int inputs) {
  road_->metrics->CountImages(RefusalOutcome(failure), inputs);
  road_->metrics->CountRejected(failure.reason);
  return failure;
}

void BatchCall::OnResult(CallResult result) {
  const Done done = std::exchange(done_, nullptr);
  timing_ = result.timing;
  if (result.status.ok()) return done(std::nullopt, std::move(result));
  answer_.Release();
  CallFailure failure = CutOff(*road_, std::move(result.status), result.reason);
  done(std::move(failure), {});
}

void BatchCall::Cancel() {
  if (call_ == nullptr) return;
  Road* const road = road_;
  const uint64_t flow = flow_;
  const std::shared_ptr<PendingCall> call = call_;
  call->Cancel();
  DropDead(road, flow);
}

void BatchCall::CountEnd(int code) {
  NoteEnd(*road_, trace_,
          {.method = method_,
           .start = arrived_,
           .code = code,
           .inputs = inputs_,
           .decode = timing_.decode,
           .queue = timing_.queue,
           .execute = timing_.execute,
           .batches = timing_.batches,
           .largest_batch = timing_.largest_batch});
}

BatchCall::Caller CallerOf(const Road& road, const grpc::CallbackServerContext& context) {
  return {.allowed = road.tokens->Allows(context),
          .flow = FlowOf(context),
          .deadline = RoadDeadline(road, context.deadline()),
          .trace = TraceOf(context)};
}

}  // namespace embedd
