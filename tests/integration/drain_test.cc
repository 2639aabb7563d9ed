// SPDX-License-Identifier: Apache-2.0
//
// A drain finishes what was accepted and refuses the rest.

#include <future>
#include <thread>
#include <vector>

#include "embedd/v1/admin_service.grpc.pb.h"
#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"

namespace embedd {
namespace {

grpc::Status Call(InProcessServer& server) {
  v1::EmbedBatchRequest request;
  for (int i = 0; i < 5; ++i) *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
  v1::EmbedBatchResponse response;
  grpc::ClientContext context;
  return server.stub().EmbedBatch(&context, request, &response);
}

grpc::health::v1::HealthCheckResponse::ServingStatus Health(InProcessServer& server) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse response;
  server.health().Check(&context, {}, &response);
  return response.status();
}

TEST_CASE("Accepted calls end well, new ones are UNAVAILABLE, DRAINING, and the drain ends") {
  InProcessServer server;
  server.gate().Close();
  std::future<grpc::Status> accepted = std::async(std::launch::async, [&] { return Call(server); });
  server.gate().WaitForArrivals(1);
  std::future<void> drain = std::async(std::launch::async, [&] { server.server().Drain(); });
  while (Health(server) == grpc::health::v1::HealthCheckResponse::SERVING) std::this_thread::yield();
  const grpc::Status late = Call(server);
  CHECK(late.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(late) == "DRAINING");
  server.gate().Open();
  drain.get();
  CHECK(accepted.get().ok());
}

TEST_CASE("A call that is on the device at the drain timeout hears UNAVAILABLE, DRAINING") {
  InProcessServer server(Config{.drain_timeout = absl::Milliseconds(50)});
  server.gate().Close();
  std::future<grpc::Status> accepted = std::async(std::launch::async, [&] { return Call(server); });
  server.gate().WaitForArrivals(1);
  server.server().Drain();
  const grpc::Status status = accepted.get();
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(status) == "DRAINING");
}

TEST_CASE("A call that still waits at the drain timeout hears UNAVAILABLE, DRAINING and when to try again") {
  InProcessServer server(Config{.max_batch = 1, .drain_timeout = absl::Milliseconds(50)});
  server.gate().Close();
  grpc::ClientContext context;
  std::future<grpc::Status> accepted = std::async(std::launch::async, [&] {
    v1::EmbedBatchRequest request;
    for (int i = 0; i < 5; ++i) *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
    v1::EmbedBatchResponse response;
    return server.stub().EmbedBatch(&context, request, &response);
  });
  server.gate().WaitForArrivals(1);
  server.server().Drain();
  const grpc::Status status = accepted.get();
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(status) == "DRAINING");
  CHECK(Trailer(context, "grpc-retry-pushback-ms") == "1000");
}

TEST_CASE("A stream that says nothing does not hold a drain") {
  InProcessServer server;
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  v1::EmbedStreamRequest request;
  *request.mutable_input() = RawInput(3);
  REQUIRE(stream->Write(request));
  v1::EmbedStreamResponse response;
  REQUIRE(stream->Read(&response));
  server.server().Drain();
  CHECK_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(status) == "DRAINING");
}

TEST_CASE("During the drain delay health says NOT_SERVING and calls are still answered") {
  InProcessServer server(Config{.drain_delay = absl::Seconds(2)});  // time for a call on a busy machine
  std::future<void> drain = std::async(std::launch::async, [&] { server.server().Drain(); });
  while (Health(server) == grpc::health::v1::HealthCheckResponse::SERVING) std::this_thread::yield();
  CHECK(Call(server).ok());
  drain.get();
  CHECK_FALSE(Call(server).ok());
  CHECK_FALSE(server.device_lost());
}

TEST_CASE(
    "Remedy 4: of many first calls after an offload one brings the weights back, and all are answered") {
  InProcessServer server;
  auto admin = v1::AdminService::NewStub(server.channel());
  v1::OffloadResponse gone;
  grpc::ClientContext offload;
  REQUIRE(admin->Offload(&offload, {}, &gone).ok());
  CHECK(gone.allocated_after() == 0);
  std::vector<std::future<grpc::Status>> calls;
  for (int i = 0; i < 16; ++i) calls.push_back(std::async(std::launch::async, [&] { return Call(server); }));
  for (std::future<grpc::Status>& call : calls) CHECK(call.get().ok());
  CHECK(server.executor().loads() == 2);  // at the start, and now
  CHECK(server.Metric("embedd_device_memory_bytes{kind=\"allocated\"}") == 1000);
}

TEST_CASE("Weights that are away do not hold a drain, and Offload and Reload move them") {
  InProcessServer server;
  auto admin = v1::AdminService::NewStub(server.channel());
  v1::OffloadResponse gone;
  grpc::ClientContext offload;
  REQUIRE(admin->Offload(&offload, {}, &gone).ok());
  CHECK(gone.allocated_before() == 1000);
  CHECK(gone.allocated_after() == 0);
  CHECK(Health(server) == grpc::health::v1::HealthCheckResponse::SERVING);
  CHECK(server.Metric("embedd_model_state{state=\"OFFLOADED\"}") == 1);
  CHECK(Call(server).ok());  // brings them back
  CHECK(server.Metric("embedd_model_state{state=\"READY\"}") == 1);
  CHECK(server.executor().loads() == 2);
  {
    grpc::ClientContext again;
    REQUIRE(admin->Offload(&again, {}, &gone).ok());
    v1::ReloadResponse back;
    grpc::ClientContext reload;
    REQUIRE(admin->Reload(&reload, {}, &back).ok());
    CHECK(back.allocated_after() == 1000);
    grpc::ClientContext last;
    REQUIRE(admin->Offload(&last, {}, &gone).ok());
  }
  server.server().Drain();
  CHECK(Health(server) != grpc::health::v1::HealthCheckResponse::SERVING);
}

}  // namespace
}  // namespace embedd
