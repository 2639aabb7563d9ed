// SPDX-License-Identifier: Apache-2.0
//
// The tensors of the Open Inference Protocol as this server's inputs, and its vectors as a tensor. Pure
// functions; what comes in is hostile.

#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "inference/grpc_service.pb.h"
#include "server/reply/pending_call.h"
#include "server/rpc/call_failure.h"
#include "server/rpc/request_checks.h"

namespace embedd {

inline constexpr absl::string_view kInferVersion = "1";  // the one version of the model

// Reads `image` (BYTES [n], files, or UINT8 [n, height, width, 3]) or `text` (BYTES [n]) into inputs, and the
// parameters `priority`, `normalize` and `expect_fingerprint` beside them. `timeout` gets the parameter of
// that name (microseconds, as Triton's clients send it), infinite without. Bytes are copied out of `request`.
std::optional<CallFailure> ReadInfer(const inference::ModelInferRequest& request, const ModelSpec& model,
                                     const RequestLimits& limits, v1::EmbedBatchRequest* out,
                                     absl::Duration* timeout);

// NOT_FOUND for a name or version that is not this model's.
std::optional<CallFailure> CheckModelName(const std::string& name, const std::string& version,
                                          const ModelSpec& model);

// The protocol has no error of one input: the first decides the code, the message lists them.
CallFailure JoinFailures(const std::vector<InputFailure>& failures);

// `embedding` FP32 [n, dimension].
void FillInfer(CallResult result, const ModelSpec& model, int inputs, const std::string& fingerprint,
               std::string id, inference::ModelInferResponse* response);

void FillModelMetadata(const ModelSpec& model, inference::ModelMetadataResponse* response);

}  // namespace embedd
