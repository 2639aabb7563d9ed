// SPDX-License-Identifier: Apache-2.0
//
// Health tells the truth from the first moment.

#include <vector>

#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"

namespace embedd {
namespace {

using Response = grpc::health::v1::HealthCheckResponse;

grpc::Status Check(InProcessServer& server, const std::string& service, Response* response) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::ClientContext context;
  return server.health().Check(&context, request, response);
}

TEST_CASE(
    "While the model loads health is NOT_SERVING and calls are UNAVAILABLE, MODEL_LOADING; then it serves") {
  InProcessServer server(Config{}, /*serve=*/false);
  Response response;
  for (const char* service : {"", "embedd.v1.EmbeddingService"}) {
    REQUIRE(Check(server, service, &response).ok());
    CHECK(response.status() == Response::NOT_SERVING);
  }
  v1::EmbedBatchRequest request;
  *request.add_inputs() = RawInput(1);
  v1::EmbedBatchResponse embedded;
  {
    grpc::ClientContext context;
    const grpc::Status status = server.stub().EmbedBatch(&context, request, &embedded);
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(Reason(status) == "MODEL_LOADING");
  }
  {
    grpc::ClientContext context;
    v1::GetServerInfoResponse info;
    REQUIRE(server.stub().GetServerInfo(&context, {}, &info).ok());
    CHECK(info.state() == v1::GetServerInfoResponse::LOADING);
  }
  grpc::ClientContext watch_context;
  auto watch = server.health().Watch(&watch_context, {});
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == Response::NOT_SERVING);
  server.Serve();
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == Response::SERVING);
  watch_context.TryCancel();
  for (const char* service : {"", "embedd.v1.EmbeddingService"}) {
    REQUIRE(Check(server, service, &response).ok());
    CHECK(response.status() == Response::SERVING);
  }
  grpc::ClientContext context;
  CHECK(server.stub().EmbedBatch(&context, request, &embedded).ok());
}

TEST_CASE("Pages and calls that are asked often do not measure the process; a scrape of the metrics does") {
  InProcessServer server;
  const auto told = [&server] {
    grpc::ClientContext context;
    v1::GetServerInfoResponse info;
    REQUIRE(server.stub().GetServerInfo(&context, {}, &info).ok());
    return info.memory().process_footprint_bytes();
  };
  server.Metric("embedd_process_footprint_bytes");
  const uint64_t before = told();
  REQUIRE(before > 0);
  const std::vector<char> grown(size_t{64} << 20, 'x');
  CHECK(told() == before);
  CHECK(server.Metric("embedd_process_footprint_bytes") >= static_cast<double>(before + grown.size() / 2));
  CHECK(told() > before);
}

TEST_CASE("A service that is not here is NOT_FOUND in Check and SERVICE_UNKNOWN in Watch") {
  InProcessServer server;
  Response response;
  CHECK(Check(server, "no.such.Service", &response).error_code() == grpc::StatusCode::NOT_FOUND);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("no.such.Service");
  grpc::ClientContext context;
  auto watch = server.health().Watch(&context, request);
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == Response::SERVICE_UNKNOWN);
  context.TryCancel();
}

}  // namespace
}  // namespace embedd
