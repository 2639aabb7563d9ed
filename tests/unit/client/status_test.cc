// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/status.h"

#include "embedd/client.h"
#include "embedd/v1/rpc_status.pb.h"
#include "tests/support/catch.h"

namespace embedd::client::internal {
namespace {

grpc::Status QueueFull() {
  v1::wire::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  info.set_domain("embedd");
  v1::wire::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  v1::wire::Status details;
  details.set_code(8);
  auto* detail = details.add_details();
  detail->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  detail->set_value(info.SerializeAsString());
  detail = details.add_details();
  detail->set_type_url("type.googleapis.com/google.rpc.RetryInfo");
  detail->set_value(retry.SerializeAsString());
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full", details.SerializeAsString()};
}

Failure WithPushback(const char* text) {
  Trailers trailers;
  trailers.emplace(kPushbackTrailer, text);
  return FailureOf(QueueFull(), trailers, ParseTargets("host:1")[0]);
}

TEST_CASE("The reason and the wait of a refusal come out of its details") {
  const auto failure = FailureOf(QueueFull(), {}, ParseTargets("host:1")[0]);
  CHECK(absl::IsResourceExhausted(failure.status));
  CHECK(ErrorReason(failure.status) == "QUEUE_FULL");
  CHECK(RetryAfter(failure.status) == absl::Milliseconds(250));
  CHECK_FALSE(failure.pushback);
  CHECK_FALSE(failure.retry_forbidden);
}

TEST_CASE("A pushback of milliseconds is a wait; a negative or unreadable one forbids") {
  CHECK(WithPushback("401").pushback == absl::Milliseconds(401));
  CHECK(WithPushback("0").pushback == absl::ZeroDuration());
  CHECK_FALSE(WithPushback("0").retry_forbidden);
  CHECK(WithPushback("-1").retry_forbidden);
  CHECK(WithPushback("soon").retry_forbidden);
  CHECK(WithPushback("").retry_forbidden);
}

TEST_CASE("A status without details, or with garbage in them, has no reason") {
  CHECK(ErrorReason(absl::UnavailableError("x")).empty());
  CHECK_FALSE(RetryAfter(absl::UnavailableError("x")));
  const auto failure =
      FailureOf({grpc::StatusCode::INTERNAL, "boom", "\xff\xff\xff"}, {}, ParseTargets("host:1")[0]);
  CHECK(ErrorReason(failure.status).empty());
  CHECK(failure.status.message() == "boom");
}

TEST_CASE("When nobody answered, the message names the address") {
  const auto failure = FailureOf({grpc::StatusCode::UNAVAILABLE, "refused"}, {}, ParseTargets("host:1")[0]);
  CHECK(std::string(failure.status.message()).find("host:1") != std::string::npos);
}

}  // namespace
}  // namespace embedd::client::internal
