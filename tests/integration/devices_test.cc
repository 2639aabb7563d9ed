// SPDX-License-Identifier: Apache-2.0
//
// Several devices, and the ends of one, as callers and operators see them.

#include <future>
#include <thread>
#include <vector>

#include "embedd/v1/admin_service.grpc.pb.h"
#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"

namespace embedd {
namespace {

grpc::Status Call(InProcessServer& server, int images, v1::EmbedBatchResponse* response) {
  v1::EmbedBatchRequest request;
  for (int i = 0; i < images; ++i) *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
  grpc::ClientContext context;
  return server.stub().EmbedBatch(&context, request, response);
}

grpc::Status Offload(InProcessServer& server) {
  v1::OffloadResponse response;
  grpc::ClientContext context;
  return v1::AdminService::NewStub(server.channel())->Offload(&context, {}, &response);
}

v1::GetServerInfoResponse Info(InProcessServer& server) {
  v1::GetServerInfoResponse info;
  grpc::ClientContext context;
  REQUIRE(server.stub().GetServerInfo(&context, {}, &info).ok());
  return info;
}

TEST_CASE("GetServerInfo lists the devices; the singular fields are those of the first") {
  InProcessServer server({}, true, 2);
  const v1::GetServerInfoResponse info = Info(server);
  REQUIRE(info.devices_size() == 2);
  CHECK(info.devices(0).device() == "cpu:0");
  CHECK(info.devices(1).device() == "cpu:1");
  CHECK(info.devices(0).serving());
  CHECK(info.devices(1).serving());
  CHECK(info.devices(1).batching().cap() == 64);
  CHECK(info.devices(1).memory().baseline_bytes() == 1000);
  CHECK(info.batching().cap() == info.devices(0).batching().cap());
  CHECK(info.memory().allocated_bytes() == info.devices(0).memory().allocated_bytes());
  CHECK(server.Metric("embedd_device_memory_bytes{device=\"cpu:1\",kind=\"allocated\"}") == 1000);
  CHECK(server.Metric("embedd_device_memory_bytes{kind=\"allocated\"}") == 2000);
  CHECK(server.Metric("embedd_build_info{fingerprint=\"f00d\"}") == 1);
}

TEST_CASE("With one of two devices lost calls are still answered, and the pages say which one is left") {
  InProcessServer server({}, true, 2);
  server.executor(0).SetScript({.on_run = [](int, int) { return absl::UnavailableError("gone"); }});
  v1::EmbedBatchResponse response;
  while (Info(server).devices(0).serving()) {
    const grpc::Status status = Call(server, 1, &response);  // the other device may take it
    if (!status.ok()) CHECK(Reason(status) == "DEVICE_FAILED");
  }
  CHECK(Info(server).devices(1).serving());
  CHECK_FALSE(server.device_lost());
  for (int i = 0; i < 10; ++i) {
    REQUIRE(Call(server, 5, &response).ok());
    CHECK(Row(response, 4)[0] == Approx(UnitRow(4)[0]).margin(1e-6));
  }
}

TEST_CASE("A drain that cuts off a batch that hangs returns in time, says so, and everybody hears DRAINING") {
  InProcessServer server(Config{.drain_timeout = absl::Milliseconds(200)});
  server.gate().Close();
  std::future<grpc::Status> on_device = std::async(std::launch::async, [&] {
    v1::EmbedBatchResponse response;
    return Call(server, 5, &response);
  });
  server.gate().WaitForArrivals(1);
  std::future<grpc::Status> operators = std::async(std::launch::async, [&] { return Offload(server); });
  CHECK_FALSE(server.server().Drain());  // and not never
  const grpc::Status status = on_device.get();
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(status) == "DRAINING");
  const grpc::Status moved = operators.get();
  CHECK(moved.error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("A drain with an idle device says that the device is at rest") {
  InProcessServer server;
  v1::EmbedBatchResponse response;
  REQUIRE(Call(server, 5, &response).ok());
  CHECK(server.server().Drain());
}

TEST_CASE("An offload that fails says why: memory, or the device") {
  InProcessServer server;
  server.executor().SetScript({.on_offload = [] { return absl::UnavailableError("gone"); }});
  const grpc::Status status = Offload(server);
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(status) == "DEVICE_FAILED");
  while (!server.device_lost()) std::this_thread::yield();
}

}  // namespace
}  // namespace embedd
