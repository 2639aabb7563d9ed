// SPDX-License-Identifier: Apache-2.0
//
// Takes an answer of the server apart: checks that it fits the request, and puts its rows and errors where
// the call wants them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "embedd/client.h"
#include "embedd/v1/embedding_service.pb.h"

namespace embedd::client::internal {

// IEEE 754 half to float; exact.
float HalfToFloat(uint16_t half);

// Puts row k of `answer` into row positions[k] of `result`, which has rows for `total` inputs from the first
// answer on, and appends its errors. Errors: INTERNAL when the answer does not fit the request,
// FAILED_PRECONDITION (reason MODEL_MISMATCH) when it comes from another model than the rows before it;
// `first` gave those, `target` this one.
absl::Status PlaceAnswer(const v1::EmbedBatchResponse& answer, std::span<const size_t> positions,
                         size_t total, const std::string& first, const std::string& target,
                         EmbedResult* result);

// The error of two models, which names both servers.
absl::Status TwoModels(const std::string& first, const std::string& first_model, const std::string& target,
                       const std::string& model);

}  // namespace embedd::client::internal
