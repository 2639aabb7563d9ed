// SPDX-License-Identifier: Apache-2.0
//
// What a caller of EmbedBatch gets.

#include <cmath>
#include <future>
#include <thread>

#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"

namespace embedd {
namespace {

void CheckRow(const std::vector<float>& row, const std::vector<float>& expected) {
  REQUIRE(row.size() == expected.size());
  for (size_t i = 0; i < row.size(); ++i) CHECK(row[i] == Approx(expected[i]).margin(1e-6));
}

TEST_CASE("Rows come in request order, of unit length, from raw pixels and from files alike") {
  InProcessServer server;
  v1::EmbedBatchRequest request;
  for (int i = 0; i < 10; ++i) *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
  request.add_inputs()->set_image(std::string("px") + char(42));
  v1::EmbedBatchResponse response;
  grpc::ClientContext context;
  REQUIRE(server.stub().EmbedBatch(&context, request, &response).ok());
  CHECK(response.dimension() == 4);
  CHECK(response.encoding() == v1::ENCODING_FLOAT32);
  CHECK(response.model_fingerprint() == "f00d");
  CHECK(response.errors_size() == 0);
  CHECK(response.data().size() == 11 * 4 * sizeof(float));
  for (int i = 0; i < 10; ++i) CheckRow(Row(response, i), UnitRow(static_cast<uint8_t>(i)));
  CheckRow(Row(response, 10), UnitRow(42));
  CHECK(response.timing().batches() >= 1);
  CHECK(response.timing().largest_batch() >= 1);
}

TEST_CASE("normalize = false gives the tower's own numbers") {
  InProcessServer server;
  v1::EmbedBatchRequest request;
  *request.add_inputs() = RawInput(7);
  request.set_normalize(false);
  v1::EmbedBatchResponse response;
  grpc::ClientContext context;
  REQUIRE(server.stub().EmbedBatch(&context, request, &response).ok());
  CheckRow(Row(response, 0), FakeExecutor::FakeRow(7, 4));
}

TEST_CASE("ENCODING_FLOAT_LIST fills vectors and leaves data empty; ENCODING_FLOAT16 halves data") {
  InProcessServer server;
  v1::EmbedBatchRequest request;
  *request.add_inputs() = RawInput(1);
  *request.add_inputs() = RawInput(2);
  request.set_encoding(v1::ENCODING_FLOAT_LIST);
  v1::EmbedBatchResponse response;
  {
    grpc::ClientContext context;
    REQUIRE(server.stub().EmbedBatch(&context, request, &response).ok());
  }
  CHECK(response.data().empty());
  REQUIRE(response.vectors_size() == 2);
  CheckRow({response.vectors(1).values().begin(), response.vectors(1).values().end()}, UnitRow(2));
  request.set_encoding(v1::ENCODING_FLOAT16);
  grpc::ClientContext context;
  REQUIRE(server.stub().EmbedBatch(&context, request, &response).ok());
  CHECK(response.vectors_size() == 0);
  CHECK(response.data().size() == 2 * 4 * 2);
}

TEST_CASE("A bad image fails alone: the call is OK, its row is zero, its neighbours are right") {
  InProcessServer server;
  v1::EmbedBatchRequest request;
  *request.add_inputs() = RawInput(1);
  request.add_inputs()->set_image("garbage");
  request.add_inputs()->set_text("a dog");
  *request.add_inputs() = RawInput(4);
  v1::EmbedBatchResponse response;
  grpc::ClientContext context;
  REQUIRE(server.stub().EmbedBatch(&context, request, &response).ok());
  CheckRow(Row(response, 0), UnitRow(1));
  CheckRow(Row(response, 1), {0, 0, 0, 0});
  CheckRow(Row(response, 2), {0, 0, 0, 0});
  CheckRow(Row(response, 3), UnitRow(4));
  REQUIRE(response.errors_size() == 2);
  CHECK(response.errors(0).index() == 1);
  CHECK(response.errors(0).code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(response.errors(0).reason() == "CORRUPT_IMAGE");
  CHECK(response.errors(1).index() == 2);
  CHECK(response.errors(1).code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(response.errors(1).reason() == "TEXT_NOT_SUPPORTED");
  CHECK(server.Metric("embedd_images_total{outcome=\"ok\"}") == 2);
  CHECK(server.Metric("embedd_images_total{outcome=\"rejected\"}") == 2);
  CHECK(server.Metric("embedd_batch_size_sum") == 2);
}

TEST_CASE("Calls that wait together ride together: 16 callers in at most 3 batches") {
  InProcessServer server;
  server.gate().Close();
  std::vector<std::future<bool>> calls;
  for (int i = 0; i < 16; ++i) {
    calls.push_back(std::async(std::launch::async, [&server, i] {
      v1::EmbedBatchRequest request;
      *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
      v1::EmbedBatchResponse response;
      grpc::ClientContext context;
      return server.stub().EmbedBatch(&context, request, &response).ok() &&
             std::fabs(Row(response, 0)[0] - UnitRow(static_cast<uint8_t>(i))[0]) < 1e-6;
    }));
  }
  server.gate().WaitForArrivals(1);
  while (server.Metric("embedd_queue_images") < 16) std::this_thread::yield();
  server.gate().Open();
  for (auto& call : calls) CHECK(call.get());
  CHECK(server.batches().size() <= 3);
}

TEST_CASE("A call larger than a batch is cut and comes back whole") {
  InProcessServer server(Config{.max_batch = 4});
  v1::EmbedBatchRequest request;
  for (int i = 0; i < 50; ++i) *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
  v1::EmbedBatchResponse response;
  grpc::ClientContext context;
  REQUIRE(server.stub().EmbedBatch(&context, request, &response).ok());
  for (int i = 0; i < 50; ++i) CheckRow(Row(response, i), UnitRow(static_cast<uint8_t>(i)));
  for (const int size : server.batches()) CHECK(size <= 4);
  CHECK(response.timing().largest_batch() <= 4);
  CHECK(response.timing().batches() >= 13);
}

TEST_CASE("GetServerInfo tells model, limits, batching, memory and versions") {
  InProcessServer server(Config{.max_inputs = 7, .queue_images = 99, .max_batch = 8});
  v1::GetServerInfoResponse info;
  grpc::ClientContext context;
  REQUIRE(server.stub().GetServerInfo(&context, {}, &info).ok());
  CHECK(info.state() == v1::GetServerInfoResponse::READY);
  CHECK(info.model().dimension() == 4);
  CHECK(info.limits().max_inputs_per_request() == 7);
  CHECK(info.limits().queue_images() == 99);
  CHECK(info.batching().buckets_size() == 4);
  CHECK(info.batching().cap() == 8);
  CHECK(info.memory().baseline_bytes() == 1000);
  CHECK_FALSE(info.versions().server().empty());
}

}  // namespace
}  // namespace embedd
