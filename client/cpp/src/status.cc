// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/status.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "embedd/client.h"
#include "embedd/v1/rpc_status.pb.h"

namespace embedd::client {
namespace internal {
namespace {

// As google.rpc names them, so that any tool can read the payloads.
constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";

template <typename Message>
std::optional<Message> Payload(const absl::Status& status, const char* url) {
  const auto payload = status.GetPayload(url);
  Message message;
  if (!payload || !message.ParseFromString(std::string(*payload))) return std::nullopt;
  return message;
}

void ReadPushback(const Trailers& trailers, Failure* failure) {
  const auto trailer = trailers.find(kPushbackTrailer);
  if (trailer == trailers.end()) return;
  int64_t millis = -1;
  const std::string text(trailer->second.data(), trailer->second.size());
  if (!absl::SimpleAtoi(text, &millis) || millis < 0) {
    failure->retry_forbidden = true;
  } else {
    failure->pushback = absl::Milliseconds(millis);
  }
}

}  // namespace

Failure FailureOf(const grpc::Status& status, const Trailers& trailers, const Target& target) {
  Failure failure;
  std::string message = status.error_message();
  v1::wire::Status details;
  const bool detailed = !status.error_details().empty() && details.ParseFromString(status.error_details());
  // A server of ours that answers UNAVAILABLE says why; without a reason nobody answered.
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && !detailed) {
    message = absl::StrCat("cannot reach ", target.name, " (", message,
                           "). Is embedd running, and is this an address it listens on?");
    if (const std::string proxy = ProxyVariable(target); !proxy.empty()) {
      absl::StrAppend(&message, " The variable ", proxy,
                      " sends this connection through a proxy; no_proxy=", target.host, " would not");
    }
  }
  if (status.error_code() == grpc::StatusCode::CANCELLED && !detailed)
    message = target.name + " ended the call";
  failure.status = absl::Status(static_cast<absl::StatusCode>(status.error_code()), message);
  for (const auto& detail : details.details())
    failure.status.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  ReadPushback(trailers, &failure);
  return failure;
}

absl::Status FailureWithReason(absl::StatusCode code, const std::string& reason, const std::string& message) {
  absl::Status status(code, message);
  v1::wire::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("embedd");
  status.SetPayload(kErrorInfoUrl, absl::Cord(info.SerializeAsString()));
  return status;
}

}  // namespace internal

std::string ErrorReason(const absl::Status& status) {
  const auto info = internal::Payload<v1::wire::ErrorInfo>(status, internal::kErrorInfoUrl);
  return info ? info->reason() : "";
}

std::optional<absl::Duration> RetryAfter(const absl::Status& status) {
  const auto info = internal::Payload<v1::wire::RetryInfo>(status, internal::kRetryInfoUrl);
  if (!info) return std::nullopt;
  return absl::Seconds(info->retry_delay().seconds()) + absl::Nanoseconds(info->retry_delay().nanos());
}

}  // namespace embedd::client
