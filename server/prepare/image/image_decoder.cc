// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_decoder.h"

#include <optional>

#include "absl/strings/cord.h"

namespace embedd {
namespace {

constexpr char kDecodeReasonUrl[] = "embedd/decode-reason";

}  // namespace

absl::Status DecodeError(Reason reason, absl::string_view message) {
  absl::Status status = ReasonError(reason, message);
  status.SetPayload(kDecodeReasonUrl, absl::Cord(std::string(ReasonWord(reason))));
  return status;
}

Reason DecodeReason(const absl::Status& status) {
  const absl::optional<absl::Cord> reason = status.GetPayload(kDecodeReasonUrl);
  return reason ? ReasonOfWord(std::string(*reason)) : Reason::kNone;
}

absl::Status NoHostMemory() {
  return DecodeError(Reason::kHostMemory,
                     "the server has no memory for this image now; try again, or send a smaller one");
}

}  // namespace embedd
