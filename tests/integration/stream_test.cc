// SPDX-License-Identifier: Apache-2.0
//
// What a caller of EmbedStream gets.

#include <atomic>
#include <cstring>
#include <thread>

#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"

namespace embedd {
namespace {

v1::EmbedStreamRequest Message(int i) {
  v1::EmbedStreamRequest request;
  *request.mutable_input() = RawInput(static_cast<uint8_t>(i % 200));
  request.mutable_input()->set_id("id" + std::to_string(i));
  return request;
}

float First(const v1::EmbedStreamResponse& response) {
  float value = 0;
  REQUIRE(response.data().size() == 16);
  std::memcpy(&value, response.data().data(), sizeof(value));
  return value;
}

TEST_CASE("A stream answers every input once, in the order sent, with its index and id") {
  InProcessServer server;
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  std::thread writer([&] {
    for (int i = 0; i < 1000; ++i) stream->Write(Message(i));
    stream->WritesDone();
  });
  v1::EmbedStreamResponse response;
  int n = 0;
  while (stream->Read(&response)) {
    CHECK(response.index() == static_cast<uint64_t>(n));
    CHECK(response.id() == "id" + std::to_string(n));
    CHECK(First(response) == Approx(UnitRow(static_cast<uint8_t>(n % 200))[0]).margin(1e-6));
    ++n;
  }
  writer.join();
  CHECK(n == 1000);
  CHECK(stream->Finish().ok());
  CHECK(server.Metric("embedd_queue_images") == 0);
  CHECK(server.Metric("embedd_images_total{outcome=\"ok\"}") == 1000);
}

TEST_CASE("A bad input of a stream fails alone and in its place") {
  InProcessServer server;
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  v1::EmbedStreamRequest bad;
  bad.mutable_input()->set_image("garbage");
  stream->Write(Message(0));
  stream->Write(bad);
  stream->Write(v1::EmbedStreamRequest{});
  stream->Write(Message(3));
  stream->WritesDone();
  v1::EmbedStreamResponse response;
  REQUIRE(stream->Read(&response));
  CHECK_FALSE(response.has_error());
  REQUIRE(stream->Read(&response));
  CHECK(response.error().reason() == "CORRUPT_IMAGE");
  CHECK(response.error().index() == 1);
  CHECK(response.data().empty());
  REQUIRE(stream->Read(&response));
  CHECK(response.error().code() == grpc::StatusCode::INVALID_ARGUMENT);
  REQUIRE(stream->Read(&response));
  CHECK(response.index() == 3);
  CHECK_FALSE(response.has_error());
  CHECK_FALSE(stream->Read(&response));
  CHECK(stream->Finish().ok());
}

TEST_CASE("A full queue slows a stream down and fails nothing") {
  InProcessServer server(Config{.queue_images = 3});
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) stream->Write(Message(i));
    stream->WritesDone();
  });
  v1::EmbedStreamResponse response;
  int n = 0;
  while (stream->Read(&response)) n += response.has_error() ? 0 : 1;
  writer.join();
  CHECK(n == 200);
  CHECK(stream->Finish().ok());
  CHECK(server.Metric("embedd_rejected_total{reason=\"QUEUE_FULL\"}") == 0);
}

TEST_CASE("Inputs sent without reading are held to the window; then all answers arrive in order") {
  InProcessServer server;
  server.gate().Close();
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 5000; ++i) stream->Write(Message(i));
    stream->WritesDone();
    done = true;
  });
  server.gate().WaitForArrivals(1);
  for (int i = 0; i < 50; ++i) CHECK(server.Metric("embedd_queue_images") <= 128);
  server.gate().Open();
  v1::EmbedStreamResponse response;
  uint64_t n = 0;
  while (stream->Read(&response)) {
    REQUIRE(response.index() == n);
    ++n;
  }
  writer.join();
  CHECK(n == 5000);
  CHECK(stream->Finish().ok());
}

TEST_CASE("A cancelled stream gives its places back") {
  InProcessServer server;
  server.gate().Close();
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  for (int i = 0; i < 20; ++i) stream->Write(Message(i));
  server.gate().WaitForArrivals(1);
  context.TryCancel();
  CHECK(stream->Finish().error_code() == grpc::StatusCode::CANCELLED);
  server.gate().Open();
  // The last message may give its bytes back a moment after its image. What never comes back is a test that
  // never ends.
  while (server.Metric("embedd_queue_images") > 0 || server.Metric("embedd_queue_bytes") > 0) {
    std::this_thread::yield();
  }
}

TEST_CASE("A drain that runs out of time ends a stream once, however many of its inputs still wait") {
  InProcessServer server(Config{.max_batch = 1, .drain_timeout = absl::Milliseconds(50)});
  server.gate().Close();
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  for (int i = 0; i < 100; ++i) REQUIRE(stream->Write(Message(i)));
  while (server.Metric("embedd_queue_images") < 100) std::this_thread::yield();
  server.server().Drain();
  v1::EmbedStreamResponse response;
  CHECK_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(status) == "DRAINING");
  CHECK(Trailer(context, "grpc-retry-pushback-ms") == "1000");
}

TEST_CASE("Settings come from the first message; a wrong one fails the stream") {
  InProcessServer server;
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  v1::EmbedStreamRequest request = Message(1);
  request.set_expect_fingerprint("other");
  stream->Write(request);
  v1::EmbedStreamResponse response;
  CHECK_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(Reason(status) == "MODEL_MISMATCH");
}

}  // namespace
}  // namespace embedd
