// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_decoder.h"

#include <optional>

#include "absl/strings/cord.h"

namespace embedd {
namespace {

constexpr char kDecodeReasonUrl[] = "embedd/decode-reason";

}  // namespace

absl::Status DecodeError(absl::string_view reason, absl::string_view message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kDecodeReasonUrl, absl::Cord(reason));
  return status;
}

std::string DecodeReason(const absl::Status& status) {
  const absl::optional<absl::Cord> reason = status.GetPayload(kDecodeReasonUrl);
  return reason ? std::string(*reason) : std::string();
}

}  // namespace embedd
