// SPDX-License-Identifier: Apache-2.0
//
// What a caller of EmbedStream gets.

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

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

TEST_CASE("A stream that is cancelled while its message waits for a place gives the message back at once") {
  InProcessServer server(Config{.queue_images = 1});
  server.gate().Close();
  grpc::ClientContext first_context;
  auto first = server.stub().EmbedStream(&first_context);
  REQUIRE(first->Write(Message(1)));
  server.gate().WaitForArrivals(1);  // holds the only place
  grpc::ClientContext context;
  auto second = server.stub().EmbedStream(&context);
  REQUIRE(second->Write(Message(2)));
  while (server.Metric("embedd_stream_waiting_bytes") == 0) std::this_thread::yield();
  context.TryCancel();
  v1::EmbedStreamResponse response;
  CHECK_FALSE(second->Read(&response));
  CHECK(second->Finish().error_code() == grpc::StatusCode::CANCELLED);
  // The place is still taken: what never comes back is a test that never ends.
  while (server.Metric("embedd_stream_waiting_bytes") > 0) std::this_thread::yield();
  server.gate().Open();
  CHECK(first->Read(&response));
}

TEST_CASE("A stream whose message finds the waiting room full is told to come back") {
  InProcessServer server(Config{.max_message_bytes = 20'000, .queue_images = 1, .queue_bytes = 1 << 20});
  // Half of --queue-bytes is the room; two pictures of 10,000 pixels and more would fit, these do not.
  server.gate().Close();
  grpc::ClientContext first_context;
  auto first = server.stub().EmbedStream(&first_context);
  REQUIRE(first->Write(Message(1)));
  server.gate().WaitForArrivals(1);
  v1::EmbedStreamRequest large;
  large.mutable_input()->mutable_raw_image()->set_width(64);
  large.mutable_input()->mutable_raw_image()->set_height(100);
  large.mutable_input()->mutable_raw_image()->set_rgb(std::string(19'200, 'x'));
  constexpr int kStreams = 40;  // 768 kB, and 512 KiB may wait
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReaderWriter<v1::EmbedStreamRequest, v1::EmbedStreamResponse>>>
      streams;
  for (int i = 0; i < kStreams; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    streams.push_back(server.stub().EmbedStream(contexts.back().get()));
    REQUIRE(streams.back()->Write(large));
  }
  while (server.Metric("embedd_rejected_total{reason=\"QUEUE_FULL\"}") < 13) std::this_thread::yield();
  CHECK(server.Metric("embedd_stream_waiting_bytes") == 27 * 19'200);
  server.gate().Open();
  int refused = 0;
  for (int i = 0; i < kStreams; ++i) {
    streams[i]->WritesDone();
    v1::EmbedStreamResponse response;
    while (streams[i]->Read(&response)) {
    }
    const grpc::Status status = streams[i]->Finish();
    if (status.ok()) continue;
    ++refused;
    CHECK(Reason(status) == "QUEUE_FULL");
    CHECK_FALSE(Trailer(*contexts[i], "grpc-retry-pushback-ms").empty());
  }
  CHECK(refused == 13);
}

TEST_CASE("Bytes that are no message fail alone, and what comes behind them is answered") {
  InProcessServer server;
  grpc::ClientContext context;
  auto stream = server.stub().EmbedStream(&context);
  v1::EmbedStreamRequest broken = Message(1);
  broken.mutable_input()->set_id("\xff");  // protobuf refuses to read it
  stream->Write(Message(0));
  stream->Write(broken);
  stream->Write(Message(2));
  stream->Write(broken);
  stream->WritesDone();
  std::vector<v1::EmbedStreamResponse> answers(1);
  while (stream->Read(&answers.back())) answers.emplace_back();
  CHECK(stream->Finish().ok());
  REQUIRE(answers.size() == 5);
  for (const size_t i : {0, 2})
    CHECK(First(answers[i]) == Approx(UnitRow(static_cast<uint8_t>(i))[0]).margin(1e-6));
  for (const size_t i : {1, 3}) {
    CHECK(answers[i].index() == i);
    CHECK(answers[i].error().code() == static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT));
    CHECK_THAT(answers[i].error().message(), ContainsSubstring("must be UTF-8"));
  }

  grpc::ClientContext other;
  auto first = server.stub().EmbedStream(&other);
  first->Write(broken);
  first->Write(Message(2));
  first->WritesDone();
  CHECK_FALSE(first->Read(&answers.back()));
  CHECK(first->Finish().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(server.Metric("embedd_images_total{outcome=\"ok\"}") == 2);
  CHECK(server.Metric("embedd_images_total{outcome=\"rejected\"}") == 3);
}

TEST_CASE("A stream that mixes images and texts takes the pair of fingerprints alone") {
  InProcessServer server({}, /*serve=*/true, /*devices=*/1, /*texts=*/true);
  const auto end = [&](const std::string& fingerprint, bool image, bool text) {
    grpc::ClientContext context;
    auto stream = server.stub().EmbedStream(&context);
    v1::EmbedStreamRequest message = Message(1);
    message.set_expect_fingerprint(fingerprint);
    if (image) stream->Write(message);
    message.mutable_input()->set_text("seven");
    if (text) stream->Write(message);
    stream->WritesDone();
    v1::EmbedStreamResponse response;
    while (stream->Read(&response)) continue;
    return stream->Finish();
  };
  for (const char* one : {"f00d", "7e87"}) {
    CHECK(end(one, true, false).ok());
    CHECK(end(one, false, true).ok());
    const grpc::Status mixed = end(one, true, true);
    CHECK(mixed.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
    CHECK(Reason(mixed) == "MODEL_MISMATCH");
  }
  CHECK(end("f00d+7e87", true, true).ok());
  CHECK(end("", true, true).ok());
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
