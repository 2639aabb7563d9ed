// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/rows.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/cpp/src/status.h"

namespace embedd::client::internal {
namespace {

// Far above any model; keeps a broken answer from asking for the memory of the machine.
constexpr uint32_t kMaxDimension = 1 << 20;

uint16_t Little16(const char* p) {
  return static_cast<uint16_t>(static_cast<uint8_t>(p[0]) | static_cast<uint8_t>(p[1]) << 8);
}

void CopyRow(const char* from, bool half, std::span<float> to) {
  if (half) {
    for (size_t i = 0; i < to.size(); ++i) to[i] = HalfToFloat(Little16(from + 2 * i));
  } else if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(to.data(), from, to.size_bytes());
  } else {
    for (size_t i = 0; i < to.size(); ++i) {
      to[i] = std::bit_cast<float>(static_cast<uint32_t>(Little16(from + 4 * i)) |
                                   static_cast<uint32_t>(Little16(from + 4 * i + 2)) << 16);
    }
  }
}

absl::Status CheckShape(const v1::EmbedBatchResponse& answer, size_t inputs) {
  const bool half = answer.encoding() == v1::ENCODING_FLOAT16;
  if (!half && answer.encoding() != v1::ENCODING_FLOAT32) {
    return absl::InternalError("the server answered in an encoding that was not asked for");
  }
  const uint64_t width = half ? 2 : 4;
  if (answer.dimension() == 0 || answer.dimension() > kMaxDimension ||
      answer.data().size() != width * inputs * answer.dimension()) {
    return absl::InternalError(absl::StrCat("the server sent ", answer.data().size(), " bytes for ", inputs,
                                            " rows of ", answer.dimension(), " numbers"));
  }
  for (const auto& error : answer.errors()) {
    if (error.index() >= inputs) return absl::InternalError("the server named an input that was not sent");
  }
  return absl::OkStatus();
}

}  // namespace

float HalfToFloat(uint16_t half) {
  const int exponent = half >> 10 & 0x1f;
  const int fraction = half & 0x3ff;
  float magnitude;
  if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else if (exponent == 31) {
    magnitude = fraction == 0 ? HUGE_VALF : NAN;
  } else {
    magnitude = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return std::copysign(magnitude, half & 0x8000 ? -1.0F : 1.0F);
}

absl::Status TwoModels(const std::string& first, const std::string& first_model, const std::string& target,
                       const std::string& model) {
  const std::string what =
      first == target
          ? absl::StrCat(target, " changed its model during the call, from ", first_model, " to ", model)
          : absl::StrCat(first, " runs model ", first_model, ", ", target, " runs model ", model);
  return FailureWithReason(absl::StatusCode::kFailedPrecondition, "MODEL_MISMATCH",
                           what + "; vectors of two models cannot be mixed. Embed all inputs again");
}

absl::Status PlaceAnswer(const v1::EmbedBatchResponse& answer, std::span<const size_t> positions,
                         size_t total, const std::string& first, const std::string& target,
                         EmbedResult* result) {
  if (auto status = CheckShape(answer, positions.size()); !status.ok()) return status;
  if (result->dimension != 0 &&
      (answer.model_fingerprint() != result->fingerprint || answer.dimension() != result->dimension)) {
    return TwoModels(first, result->fingerprint, target, answer.model_fingerprint());
  }
  result->fingerprint = answer.model_fingerprint();
  if (result->dimension != answer.dimension()) {
    result->dimension = answer.dimension();
    result->rows.assign(total * result->dimension, 0.0F);
  }
  const bool half = answer.encoding() == v1::ENCODING_FLOAT16;
  const size_t row_bytes = (half ? 2 : 4) * result->dimension;
  for (size_t k = 0; k < positions.size(); ++k) {
    CopyRow(answer.data().data() + k * row_bytes, half,
            std::span(result->rows).subspan(positions[k] * result->dimension, result->dimension));
  }
  for (const auto& error : answer.errors()) {
    const bool known = error.code() >= 1 && error.code() <= 16;
    result->errors.push_back(
        {positions[error.index()],
         known ? static_cast<absl::StatusCode>(error.code()) : absl::StatusCode::kUnknown, error.reason(),
         error.message()});
  }
  return absl::OkStatus();
}

}  // namespace embedd::client::internal
