// SPDX-License-Identifier: Apache-2.0
//
// CallFailure: why a call failed as a whole, before it becomes a gRPC status or one of HTTP. Plain data.

#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/telemetry/reason.h"

namespace embedd {

struct CallFailure {
  absl::Status status;  // not OK; its message is for people and names the fix
  Reason reason = Reason::kInternalError;
  std::string field;  // path of the wrong field, e.g. inputs[3].raw_image.rgb; may be empty
  std::map<std::string, std::string> metadata;  // numbers that the message mentions
  // When a retry is worth it; negative: never. Absent: nothing is said.
  std::optional<absl::Duration> retry_after;
};

// INVALID_ARGUMENT: `field` of the request is wrong, as `what` says.
inline CallFailure InvalidRequest(const std::string& field, const std::string& what) {
  return {.status = absl::InvalidArgumentError(absl::StrCat(field, ": ", what)),
          .reason = Reason::kInvalidRequest,
          .field = field};
}

}  // namespace embedd
