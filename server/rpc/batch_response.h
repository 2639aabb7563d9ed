// SPDX-License-Identifier: Apache-2.0
//
// Writes what the road computed into the messages callers get.

#pragma once

#include "embedd/v1/embedding_service.pb.h"
#include "server/reply/pending_call.h"
#include "server/rpc/request_checks.h"

namespace embedd {

void FillResponse(CallResult result, const CallSettings& settings, const ModelSpec& model,
                  std::string fingerprint, int inputs, absl::Duration total,
                  v1::EmbedBatchResponse* response);

// One answer of a stream; `result` is that of a call with one input.
void FillStreamResponse(CallResult result, const CallSettings& settings, const ModelSpec& model, Tower tower,
                        uint64_t index, std::string id, absl::Duration total,
                        v1::EmbedStreamResponse* response);

// How rows are packed; a list of floats is made of float32.
RowEncoding RowsOf(const CallSettings& settings);

// Bytes that the answer to `inputs` inputs takes in memory until it is sent: rows or what is said instead, as
// a message and as the bytes of it that gRPC holds.
int64_t AnswerBytes(int64_t inputs, const CallSettings& settings, const ModelSpec& model);

// How the inputs of a call that failed before it was on the road are counted.
Outcome RefusalOutcome(const CallFailure& failure);

}  // namespace embedd
