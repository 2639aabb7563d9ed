// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/batch_response.h"

#include <cstring>
#include <utility>

#include "server/rpc/status_mapping.h"

namespace embedd {
namespace {

void FillTiming(const CallTiming& timing, absl::Duration total, v1::Timing* out) {
  out->set_decode_ns(absl::ToInt64Nanoseconds(timing.decode));
  out->set_queue_ns(absl::ToInt64Nanoseconds(timing.queue));
  out->set_execute_ns(absl::ToInt64Nanoseconds(timing.execute));
  out->set_total_ns(absl::ToInt64Nanoseconds(total));
  out->set_largest_batch(timing.largest_batch);
  out->set_batches(timing.batches);
}

void FillError(const InputFailure& failure, uint32_t index, v1::InputError* out) {
  out->set_index(index);
  out->set_code(ToRpcCode(failure.status));
  out->set_reason(std::string(ReasonWord(failure.reason)));
  out->set_message(std::string(failure.status.message()));
}

void FillVector(const char* row, int dimension, v1::FloatVector* out) {
  out->mutable_values()->Resize(dimension, 0.0f);
  std::memcpy(out->mutable_values()->mutable_data(), row, static_cast<size_t>(dimension) * sizeof(float));
}

}  // namespace

void FillResponse(CallResult result, const CallSettings& settings, const ModelSpec& model,
                  std::string fingerprint, int inputs, absl::Duration total,
                  v1::EmbedBatchResponse* response) {
  response->set_dimension(static_cast<uint32_t>(model.dimension));
  response->set_encoding(settings.encoding);
  response->set_model_fingerprint(std::move(fingerprint));
  if (settings.encoding == v1::ENCODING_FLOAT_LIST) {
    const size_t row_bytes = static_cast<size_t>(model.dimension) * sizeof(float);
    for (int i = 0; i < inputs; ++i) {
      FillVector(result.data.data() + static_cast<size_t>(i) * row_bytes, model.dimension,
                 response->add_vectors());
    }
  } else {
    response->set_data(std::move(result.data));
  }
  for (const InputFailure& failure : result.failures)
    FillError(failure, failure.index, response->add_errors());
  FillTiming(result.timing, total, response->mutable_timing());
}

void FillStreamResponse(CallResult result, const CallSettings& settings, const ModelSpec& model, Tower tower,
                        uint64_t index, std::string id, absl::Duration total,
                        v1::EmbedStreamResponse* response) {
  response->set_index(index);
  response->set_id(std::move(id));
  response->set_dimension(static_cast<uint32_t>(model.dimension));
  response->set_model_fingerprint(
      FingerprintOf(model, {.image = tower == Tower::kImage, .text = tower == Tower::kText}));
  FillTiming(result.timing, total, response->mutable_timing());
  if (!result.failures.empty()) {
    FillError(result.failures.front(), static_cast<uint32_t>(index), response->mutable_error());
  } else if (settings.encoding == v1::ENCODING_FLOAT_LIST) {
    FillVector(result.data.data(), model.dimension, response->mutable_vector());
  } else {
    response->set_data(std::move(result.data));
  }
}

RowEncoding RowsOf(const CallSettings& settings) {
  return settings.encoding == v1::ENCODING_FLOAT16 ? RowEncoding::kFloat16 : RowEncoding::kFloat32;
}

int64_t AnswerBytes(int64_t inputs, const CallSettings& settings, const ModelSpec& model) {
  constexpr int64_t kCopies = 2;
  constexpr int64_t kPerInput = 256;  // an error with its text
  const auto number = static_cast<int64_t>(BytesPerNumber(RowsOf(settings)));
  return inputs * kCopies * (model.dimension * number + kPerInput);
}

Outcome RefusalOutcome(const CallFailure& failure) {
  switch (failure.status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:  // a model of another name
      return Outcome::kRejected;
    case absl::StatusCode::kDeadlineExceeded:
      return Outcome::kExpired;
    default:
      return Outcome::kRefused;
  }
}

}  // namespace embedd
