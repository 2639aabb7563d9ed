// SPDX-License-Identifier: Apache-2.0
//
// What is refused, with which code, reason and hint.

#include <future>
#include <thread>

#include "absl/time/clock.h"
#include "server/rpc/grpc_server.h"
#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

grpc::Status Call(InProcessServer& server, const v1::EmbedBatchRequest& request,
                  grpc::ClientContext& context) {
  v1::EmbedBatchResponse response;
  return server.stub().EmbedBatch(&context, request, &response);
}

grpc::Status Call(InProcessServer& server, const v1::EmbedBatchRequest& request) {
  grpc::ClientContext context;
  return Call(server, request, context);
}

v1::EmbedBatchRequest Images(int n) {
  v1::EmbedBatchRequest request;
  for (int i = 0; i < n; ++i) *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
  return request;
}

TEST_CASE("What callers may fill must fit in memory, or the operator is told which flags to lower") {
  constexpr int64_t kMiB = int64_t{1} << 20;
  const GrpcServer::Options options{.max_message_bytes = 10 * kMiB, .queue_bytes = 100 * kMiB};
  CHECK(GrpcServer::MemoryWarning(options, 380 * kMiB).empty());
  CHECK(GrpcServer::MemoryWarning(options, 0).empty());  // unknown
  const std::string warning = GrpcServer::MemoryWarning(options, 379 * kMiB);
  for (const char* part : {"380 MiB", "379 MiB", "--queue-bytes", "--max-message-bytes"}) {
    CHECK(warning.find(part) != std::string::npos);
  }
}

TEST_CASE("A malformed request is INVALID_ARGUMENT and names the field") {
  InProcessServer server(Config{.max_inputs = 8});
  v1::EmbedBatchRequest request;
  std::string field;
  SECTION("no inputs") { field = "inputs"; }
  SECTION("too many inputs") {
    request = Images(9);
    field = "inputs";
  }
  SECTION("an empty input") {
    request = Images(1);
    request.add_inputs();
    field = "inputs[1]";
  }
  SECTION("an empty file") {
    request.add_inputs()->set_image("");
    field = "inputs[0].image";
  }
  SECTION("raw pixels of the wrong size") {
    request = Images(4);
    request.mutable_inputs(3)->mutable_raw_image()->set_width(3);
    field = "inputs[3].raw_image.rgb";
  }
  SECTION("a zero-sized image") {
    request = Images(1);
    request.mutable_inputs(0)->mutable_raw_image()->set_height(0);
    field = "inputs[0].raw_image.height";
  }
  SECTION("sides whose product overflows 32 bits") {
    request = Images(1);
    request.mutable_inputs(0)->mutable_raw_image()->set_width(1u << 24);
    request.mutable_inputs(0)->mutable_raw_image()->set_height(1u << 24);
    field = "inputs[0].raw_image.rgb";
  }
  SECTION("an unknown encoding") {
    request = Images(1);
    request.set_encoding(static_cast<v1::Encoding>(77));
    field = "encoding";
  }
  SECTION("an unknown priority") {
    request = Images(1);
    request.set_priority(static_cast<v1::Priority>(77));
    field = "priority";
  }
  const grpc::Status status = Call(server, request);
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message().find(field) == 0);
  CHECK(server.batches().empty());
  CHECK(server.Metric("embedd_queue_images") == 0);
}

TEST_CASE(
    "A full queue refuses with QUEUE_FULL and says when to come back; an empty one takes any call that "
    "fits") {
  InProcessServer server(Config{.queue_images = 10});
  server.gate().Close();
  std::future<grpc::Status> first = std::async(std::launch::async, [&] { return Call(server, Images(10)); });
  server.gate().WaitForArrivals(1);
  {
    grpc::ClientContext context;
    const grpc::Status status = Call(server, Images(1), context);
    CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    CHECK(Reason(status) == "QUEUE_FULL");
    CHECK(std::stoi(Trailer(context, "grpc-retry-pushback-ms")) > 0);
  }
  server.gate().Open();
  CHECK(first.get().ok());
  CHECK(Call(server, Images(10)).ok());
  CHECK(server.Metric("embedd_rejected_total{reason=\"QUEUE_FULL\"}") == 1);
  CHECK(server.Metric("embedd_images_total{outcome=\"refused\"}") == 1);
}

TEST_CASE("A call that the queue could never hold is told not to retry, with both numbers") {
  InProcessServer server(Config{.queue_images = 10});
  grpc::ClientContext context;
  const grpc::Status status = Call(server, Images(11), context);
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(Reason(status) == "QUEUE_FULL");
  CHECK(std::stoi(Trailer(context, "grpc-retry-pushback-ms")) < 0);
  CHECK(status.error_message().find("11") != std::string::npos);
  CHECK(status.error_message().find("10") != std::string::npos);
}

TEST_CASE("One image over a limit fails alone with IMAGE_TOO_LARGE") {
  InProcessServer server(Config{.max_image_bytes = 3, .max_pixels = 4});
  v1::EmbedBatchRequest request;
  request.add_inputs()->set_image("px12");
  v1::RawImage* raw = request.add_inputs()->mutable_raw_image();
  raw->set_width(5);
  raw->set_height(1);
  raw->set_rgb(std::string(15, 'x'));
  *request.add_inputs() = RawInput(1);
  v1::EmbedBatchResponse response;
  grpc::ClientContext context;
  REQUIRE(server.stub().EmbedBatch(&context, request, &response).ok());
  REQUIRE(response.errors_size() == 2);
  CHECK(response.errors(0).reason() == "IMAGE_TOO_LARGE");
  CHECK(response.errors(1).reason() == "IMAGE_TOO_LARGE");
}

TEST_CASE("expect_fingerprint of another model is MODEL_MISMATCH") {
  InProcessServer server;
  v1::EmbedBatchRequest request = Images(1);
  request.set_expect_fingerprint("other");
  const grpc::Status status = Call(server, request);
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(Reason(status) == "MODEL_MISMATCH");
  request.set_expect_fingerprint("f00d");
  CHECK(Call(server, request).ok());
}

TEST_CASE("A deadline that passes in the queue is DEADLINE_EXCEEDED and costs no device work") {
  InProcessServer server;
  server.gate().Close();
  std::future<grpc::Status> first = std::async(std::launch::async, [&] { return Call(server, Images(1)); });
  server.gate().WaitForArrivals(1);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(60));
  CHECK(Call(server, Images(5), context).error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  server.gate().Open();
  CHECK(first.get().ok());
  CHECK(Call(server, Images(1)).ok());
  CHECK(server.batches() == std::vector<int>{1, 1});
  CHECK(server.Metric("embedd_queue_images") == 0);
  CHECK(server.Metric("embedd_queue_bytes") == 0);
}

TEST_CASE(
    "Images that are still to be decoded are ahead of a call, and it is refused when it would be late") {
  InProcessServer server({}, /*serve=*/false);
  FakeExecutor::Script slow;
  slow.on_run = [](int images, int) {
    absl::SleepFor(absl::Milliseconds(5) * images);  // what the server learns while it warms up
    return absl::OkStatus();
  };
  server.SetScript(slow);
  server.Serve();
  server.decode_gate().Close();
  v1::EmbedBatchRequest files;  // 1.3 s of work, none of it in the queue yet
  for (int i = 0; i < 256; ++i) files.add_inputs()->set_image("px1");
  std::future<grpc::Status> first = std::async(std::launch::async, [&] { return Call(server, files); });
  server.decode_gate().WaitForArrivals(2);

  std::string reason;
  for (int attempt = 0; attempt < 5 && reason.empty();
       ++attempt) {  // the first files may come before the last
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
    const grpc::Status status = Call(server, Images(1), context);
    CHECK(status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
    reason = Reason(status);  // none from a deadline that has passed
  }
  CHECK(reason == "DEADLINE");
  server.decode_gate().Open();
  CHECK(first.get().ok());
}

TEST_CASE("A call of texts is judged by the time of texts, where pictures take long") {
  InProcessServer server({}, /*serve=*/false, /*devices=*/1, /*texts=*/true);
  FakeExecutor::Script slow;
  slow.on_run = [](int images, int) {
    absl::SleepFor(absl::Milliseconds(10) * images);  // what the server learns while it warms up
    return absl::OkStatus();
  };
  server.SetScript(slow);
  server.Serve();
  const auto call = [&](const v1::EmbedBatchRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(3));
    return Call(server, request, context);
  };
  CHECK(Reason(call(Images(400))) == "DEADLINE");  // 4 s of work
  v1::EmbedBatchRequest texts;
  for (int i = 0; i < 400; ++i) texts.add_inputs()->set_text("seven");
  for (int i = 0; i < 2; ++i) {  // before and after the text tower was measured
    const grpc::Status status = call(texts);
    INFO(status.error_message());
    CHECK(status.ok());
  }
  CHECK(server.Metric("embedd_batch_size_sum{tower=\"text\"}") == 800);
}

TEST_CASE("A caller that goes away leaves the queue, and no device work is spent on it") {
  InProcessServer server;
  server.gate().Close();
  std::future<grpc::Status> first = std::async(std::launch::async, [&] { return Call(server, Images(1)); });
  server.gate().WaitForArrivals(1);
  grpc::ClientContext context;
  std::future<grpc::Status> second =
      std::async(std::launch::async, [&] { return Call(server, Images(5), context); });
  while (server.Metric("embedd_queue_images") < 6) std::this_thread::yield();
  context.TryCancel();
  CHECK(second.get().error_code() == grpc::StatusCode::CANCELLED);
  // Its places come back while the device is still held.
  while (server.Metric("embedd_queue_images") > 1) std::this_thread::yield();
  server.gate().Open();
  CHECK(first.get().ok());
  CHECK(Call(server, Images(1)).ok());
  CHECK(server.batches() == std::vector<int>{1, 1});
  CHECK(server.Metric("embedd_images_total{outcome=\"cancelled\"}") == 5);
}

TEST_CASE("Without a valid token every method but health is UNAUTHENTICATED") {
  const TempFolder folder;
  InProcessServer server(Config{.token_file = folder.Write("tokens", "old-token\nnew-token\n")});
  CHECK(Call(server, Images(1)).error_code() == grpc::StatusCode::UNAUTHENTICATED);
  for (const char* token : {"old-token", "new-token"}) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", std::string("Bearer ") + token);
    CHECK(Call(server, Images(1), context).ok());
  }
  {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer wrong");
    CHECK(Call(server, Images(1), context).error_code() == grpc::StatusCode::UNAUTHENTICATED);
  }
  {
    grpc::ClientContext context;
    v1::GetServerInfoResponse info;
    CHECK(server.stub().GetServerInfo(&context, {}, &info).error_code() == grpc::StatusCode::UNAUTHENTICATED);
  }
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse health;
  CHECK(server.health().Check(&context, {}, &health).ok());
}

}  // namespace
}  // namespace embedd
