// SPDX-License-Identifier: Apache-2.0
//
// What happens to callers when the device is in trouble.

#include <limits>
#include <stdexcept>
#include <thread>

#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"

namespace embedd {
namespace {

grpc::Status CallImages(InProcessServer& server, int n, v1::EmbedBatchResponse* response) {
  v1::EmbedBatchRequest request;
  for (int i = 0; i < n; ++i) *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
  grpc::ClientContext context;
  return server.stub().EmbedBatch(&context, request, response);
}

TEST_CASE("Out of memory is split and finished; the caller does not notice") {
  InProcessServer server;
  server.SetScript({.on_run = [](int images, int) {
    return images > 3 ? absl::ResourceExhaustedError("out of memory") : absl::OkStatus();
  }});
  v1::EmbedBatchResponse response;
  REQUIRE(CallImages(server, 30, &response).ok());
  CHECK(response.errors_size() == 0);
  for (int i = 0; i < 30; ++i)
    CHECK(Row(response, i)[0] == Approx(UnitRow(static_cast<uint8_t>(i))[0]).margin(1e-6));
  CHECK(server.Metric("embedd_device_oom_total{outcome=\"split\"}") >= 1);
  CHECK(server.Metric("embedd_batch_unreleased_bytes") == 0);
  CHECK(server.Metric("embedd_device_memory_bytes{kind=\"allocated\"}") ==
        server.Metric("embedd_device_memory_bytes{kind=\"baseline\"}"));
}

TEST_CASE("An image that does not fit even alone fails alone with DEVICE_MEMORY") {
  InProcessServer server;
  server.SetScript({.on_run = [](int, int) { return absl::ResourceExhaustedError("out of memory"); }});
  v1::EmbedBatchResponse response;
  REQUIRE(CallImages(server, 3, &response).ok());
  REQUIRE(response.errors_size() == 3);
  CHECK(response.errors(0).code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(response.errors(0).reason() == "DEVICE_MEMORY");
  server.SetScript({});
  CHECK(CallImages(server, 3, &response).ok());
}

TEST_CASE("An image for which the host has no memory fails alone with HOST_MEMORY") {
  InProcessServer server;
  v1::EmbedBatchRequest request;
  request.add_inputs()->set_image("pxa");
  request.add_inputs()->set_image("too much");
  request.add_inputs()->set_image("pxb");
  v1::EmbedBatchResponse response;
  grpc::ClientContext context;
  REQUIRE(server.stub().EmbedBatch(&context, request, &response).ok());
  REQUIRE(response.errors_size() == 1);
  CHECK(response.errors(0).index() == 1);
  CHECK(response.errors(0).code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(response.errors(0).reason() == "HOST_MEMORY");
  CHECK(Row(response, 0)[0] == Approx(UnitRow('a')[0]).margin(1e-6));
  CHECK(Row(response, 2)[0] == Approx(UnitRow('b')[0]).margin(1e-6));
  CHECK(server.Metric("embedd_rejected_total{reason=\"HOST_MEMORY\"}") == 1);
}

TEST_CASE("A vector that is not finite never leaves: INTERNAL, BAD_OUTPUT") {
  InProcessServer server;
  server.SetScript(
      {.on_rows = [](absl::Span<float> rows) { rows[1] = std::numeric_limits<float>::quiet_NaN(); }});
  v1::EmbedBatchResponse response;
  REQUIRE(CallImages(server, 1, &response).ok());
  REQUIRE(response.errors_size() == 1);
  CHECK(response.errors(0).code() == grpc::StatusCode::INTERNAL);
  CHECK(response.errors(0).reason() == "BAD_OUTPUT");
  CHECK(Row(response, 0) == std::vector<float>(4, 0.0f));
}

TEST_CASE("An exception fails the calls of its batch with INTERNAL and the server lives on") {
  InProcessServer server;
  server.SetScript({.on_run = [](int, int) -> absl::Status { throw std::runtime_error("a bug"); }});
  v1::EmbedBatchResponse response;
  const grpc::Status status = CallImages(server, 2, &response);
  CHECK(status.error_code() == grpc::StatusCode::INTERNAL);
  CHECK(Reason(status) == "INTERNAL_ERROR");
  server.SetScript({});
  CHECK(CallImages(server, 2, &response).ok());
  CHECK_FALSE(server.device_lost());
  CHECK(server.Metric("embedd_batch_unreleased_bytes") == 0);
}

TEST_CASE("A lost device answers UNAVAILABLE, DEVICE_FAILED, turns health and tells main") {
  InProcessServer server;
  SECTION("the executor says so") {
    server.SetScript({.on_run = [](int, int) { return absl::UnavailableError("device gone"); }});
  }
  SECTION("the memory counters are garbage") { server.executor().counting_memory().SetGarbage(true); }
  v1::EmbedBatchResponse response;
  const grpc::Status status = CallImages(server, 2, &response);
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(status) == "DEVICE_FAILED");
  const grpc::Status next = CallImages(server, 1, &response);
  CHECK(next.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(next) == "DEVICE_FAILED");
  while (!server.device_lost()) std::this_thread::yield();  // told after the answer
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse health;
  REQUIRE(server.health().Check(&context, {}, &health).ok());
  CHECK(health.status() == grpc::health::v1::HealthCheckResponse::NOT_SERVING);
}

}  // namespace
}  // namespace embedd
