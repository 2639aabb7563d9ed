// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/status_mapping.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "embedd/v1/rpc_status.pb.h"
#include "server/support/utf8.h"

namespace embedd {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";
// Clients take 8 KiB of trailers in all; what is more ends there as another error. The message goes twice,
// and its details as base64.
constexpr size_t kLongestMessage = 2048, kLongestValue = 512, kLongestDescription = 256;

template <typename Message>
void AddDetail(v1::wire::Status& status, const char* type, const Message& message) {
  v1::wire::Any* any = status.add_details();
  any->set_type_url(absl::StrCat(kTypePrefix, type));
  message.SerializeToString(any->mutable_value());
}

}  // namespace

int ToRpcCode(const absl::Status& status) { return static_cast<int>(status.code()); }

std::string CodeName(int code) {
  if (code == 0) return "OK";
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

grpc::Status ToGrpcStatus(const CallFailure& failure, grpc::ServerContextBase* context) {
  const std::string message(CutUtf8(failure.status.message(), kLongestMessage));
  v1::wire::Status wire;
  wire.set_code(ToRpcCode(failure.status));
  wire.set_message(message);

  v1::wire::ErrorInfo info;
  info.set_reason(std::string(ReasonWord(failure.reason)));
  info.set_domain("embedd");
  for (const auto& [key, value] : failure.metadata)
    (*info.mutable_metadata())[key] = std::string(CutUtf8(value, kLongestValue));
  AddDetail(wire, "google.rpc.ErrorInfo", info);

  if (!failure.field.empty()) {
    v1::wire::BadRequest bad;
    v1::wire::BadRequest::FieldViolation* violation = bad.add_field_violations();
    violation->set_field(failure.field);
    violation->set_description(std::string(CutUtf8(message, kLongestDescription)));
    AddDetail(wire, "google.rpc.BadRequest", bad);
  }
  if (failure.retry_after.has_value()) {
    if (*failure.retry_after >= absl::ZeroDuration()) {
      const int64_t ms = std::max<int64_t>(1, absl::ToInt64Milliseconds(*failure.retry_after));
      v1::wire::RetryInfo retry;
      retry.mutable_retry_delay()->set_seconds(ms / 1000);
      retry.mutable_retry_delay()->set_nanos(static_cast<int>(ms % 1000) * 1'000'000);
      AddDetail(wire, "google.rpc.RetryInfo", retry);
      context->AddTrailingMetadata("grpc-retry-pushback-ms", absl::StrCat(ms));
    } else {
      context->AddTrailingMetadata("grpc-retry-pushback-ms", "-1");
    }
  }
  return grpc::Status(static_cast<grpc::StatusCode>(wire.code()), message, wire.SerializeAsString());
}

}  // namespace embedd
