// SPDX-License-Identifier: Apache-2.0
//
// BatchCall: a call of several inputs from arrival to vectors, whichever door it came through (EmbedBatch,
// ModelInfer, POST /v1/embeddings): checks, admission, the way onto the road and the counting are the same
// for all. A door reads its own message into inputs, and writes what comes out in its own words. Nothing here
// blocks.

#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/reply/pending_call.h"
#include "server/rpc/admission.h"
#include "server/rpc/answer_place.h"
#include "server/rpc/batch_response.h"
#include "server/rpc/request_checks.h"

namespace embedd {

class BatchCall {
 public:
  // How a call came in.
  struct Caller {
    bool allowed = true;  // its token
    uint64_t flow = 0;    // the connection
    absl::Time deadline = absl::InfiniteFuture();
    std::optional<TraceContext> trace;
  };
  // Either a failure of the whole call or its result. Called once, perhaps before Start returns, from any
  // thread; this may be destroyed in it.
  using Done = std::function<void(std::optional<CallFailure> failure, CallResult result)>;

  // From here until its end a drain waits for the call; its part of the budget for answers is held as long.
  // `method` names it in metrics, and stays where it is.
  BatchCall(Road* road, const char* method);
  ~BatchCall();
  BatchCall(const BatchCall&) = delete;
  BatchCall& operator=(const BatchCall&) = delete;

  // Refuses the call, and empties `request`, or sets it on its way, and takes the inputs' bytes out of it.
  // Done may be called before this returns: where it destroys what `request` is a part of, `hold` keeps that.
  void Start(const Caller& caller, v1::EmbedBatchRequest& request, std::shared_ptr<void> hold, Done done);

  // Counts a call that fails before it is on the road, as a door does whose message cannot be read. Returns
  // the failure.
  CallFailure Refuse(CallFailure failure, int inputs);

  // The caller went away: its inputs leave the road, and Done is called unless it was.
  void Cancel();

  // The call has ended with `code`, as its door says it: counts it, and tells its trace.
  void CountEnd(int code);

  // Of the answer; known when Done is called with a result.
  const CallSettings& settings() const { return settings_; }
  const ModelSpec& model() const { return *model_; }
  const std::string& fingerprint() const { return fingerprint_; }
  int inputs() const { return inputs_; }
  // Of its inputs, those that were not refused at once, by tower.
  const PerTower<int>& embedded() const { return embedded_; }
  absl::Duration elapsed() const { return road_->clock->TimeNow() - arrived_; }

 private:
  std::optional<CallFailure> Check(const Caller& caller, const v1::EmbedBatchRequest& request);
  void OnResult(CallResult result);

  Road* const road_;
  const char* const method_;
  const absl::Time arrived_;
  Done done_;
  int inputs_ = 0;
  PerTower<int> embedded_;
  uint64_t flow_ = 0;
  std::optional<TraceContext> trace_;
  CallTiming timing_;  // once it has ended well
  CallSettings settings_;
  const ModelSpec* model_ = nullptr;
  std::string fingerprint_;
  std::shared_ptr<PendingCall> call_;
  AnswerPlace answer_;
};

// Of a gRPC call.
BatchCall::Caller CallerOf(const Road& road, const grpc::CallbackServerContext& context);

}  // namespace embedd
