// SPDX-License-Identifier: Apache-2.0
//
// What a failed call says: gRPC's status, the details embedd sends with it and the pushback trailer, as one
// value. The only place of the client where gRPC codes meet absl codes.

#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/src/target.h"
#include "grpcpp/support/status.h"
#include "grpcpp/support/string_ref.h"

namespace embedd::client::internal {

// Trailer in which a server says when to try again, in milliseconds; negative: never.
inline constexpr char kPushbackTrailer[] = "grpc-retry-pushback-ms";

using Trailers = std::multimap<grpc::string_ref, grpc::string_ref>;

struct Failure {
  // Carries ErrorInfo and RetryInfo as payloads; ErrorReason and RetryAfter of client.h read them.
  absl::Status status = absl::OkStatus();
  // Set when the trailer was there and says a time.
  std::optional<absl::Duration> pushback = std::nullopt;
  // The trailer was there and forbids another attempt: it was negative, or no number.
  bool retry_forbidden = false;
};

// `status` must not be OK. `target` is named when the server could not be reached, and the variable that
// sends the connection through a proxy.
Failure FailureOf(const grpc::Status& status, const Trailers& trailers, const Target& target);

// A failure found on this side, with a reason that ErrorReason gives back.
absl::Status FailureWithReason(absl::StatusCode code, const std::string& reason, const std::string& message);

}  // namespace embedd::client::internal
