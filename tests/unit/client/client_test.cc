// SPDX-License-Identifier: Apache-2.0

#include "embedd/client.h"

#include <atomic>
#include <future>
#include <thread>

#include "absl/time/clock.h"
#include "tests/support/catch.h"
#include "tests/unit/client/fake_service.h"

namespace embedd::client {
namespace {

// Image i has i + 1 bytes, so its row tells which it was.
struct Images {
  explicit Images(size_t count) {
    for (size_t i = 0; i < count; ++i) bytes.push_back(std::string(i + 1, static_cast<char>('A' + i % 26)));
    for (const auto& b : bytes) refs.push_back(ImageRef::File(b));
  }
  std::vector<std::string> bytes;
  std::vector<ImageRef> refs;
};

std::unique_ptr<Client> Connect(const FakeServer& server, Options options = {}) {
  options.target = server.target();
  auto client = Client::Create(std::move(options));
  REQUIRE(client.ok());
  return *std::move(client);
}

void CheckRows(const absl::StatusOr<EmbedResult>& result, size_t count) {
  INFO(result.status());
  REQUIRE(result.ok());
  REQUIRE(result->dimension == kFakeDimension);
  REQUIRE(result->rows.size() == count * kFakeDimension);
  for (size_t i = 0; i < count; ++i) REQUIRE(result->row(i)[0] == static_cast<float>(i + 1));
}

TEST_CASE("Rows come back in the order of the images, whatever the order of the answers") {
  FakeServer server;
  Mutex mu;
  CondVar changed;
  int arrived = 0, answered = 0;
  // Three requests must be in flight at once; then the last to come is the first to be answered.
  server.service.before = [&](int call, const v1::EmbedBatchRequest&, grpc::ServerContext*) {
    MutexLock lock(&mu);
    ++arrived;
    changed.SignalAll();
    const absl::Time give_up = absl::Now() + absl::Seconds(20);
    while (arrived < 3 || answered < 2 - call) {
      if (absl::Now() > give_up) return grpc::Status(grpc::StatusCode::INTERNAL, "never three in flight");
      changed.WaitFor(&mu, absl::Seconds(1));
    }
    ++answered;
    changed.SignalAll();
    return grpc::Status::OK;
  };
  const Images images(30);
  const auto client = Connect(server, {.max_in_flight = 3, .max_request_images = 10});
  const auto result = client->EmbedImages(images.refs);
  CheckRows(result, 30);
  REQUIRE(result->requests.size() == 3);
  for (size_t i = 0; i < 3; ++i) CHECK(result->requests[i].first_input == 10 * i);
}

TEST_CASE("A call is cut by the limits of the server") {
  FakeServer server;
  server.service.info.mutable_limits()->set_max_inputs_per_request(7);
  const Images images(20);
  CheckRows(Connect(server)->EmbedImages(images.refs), 20);
  for (const auto& seen : server.service.seen()) CHECK(seen.inputs <= 7);
  CHECK(server.service.seen().size() == 3);
}

TEST_CASE("A bad image fails alone, with its index in the call") {
  FakeServer server;
  Images images(10);
  images.refs[6] = ImageRef::File("bad bytes");
  images.refs[2] = ImageRef::File("");
  const auto result = Connect(server, {.max_request_images = 4})->EmbedImages(images.refs);
  REQUIRE(result.ok());
  REQUIRE(result->errors.size() == 2);
  CHECK(result->errors[0].index == 2);
  CHECK(result->errors[1].index == 6);
  CHECK(result->errors[1].reason == "CORRUPT_IMAGE");
  CHECK(result->row(2)[0] == 0);
  CHECK(result->row(6)[0] == 0);
  CHECK(result->row(3)[0] == 4);
  CHECK(result->row(7)[0] == 8);
}

TEST_CASE("When no image is fit to be sent, rows still have the width of the model") {
  FakeServer server;
  const std::vector<std::string> paths{"/nonexistent/a.jpg", "/nonexistent/b.jpg"};
  const auto result = Connect(server)->EmbedFiles(paths);
  REQUIRE(result.ok());
  CHECK(result->errors.size() == 2);
  CHECK(result->rows == std::vector<float>(2 * kFakeDimension));
  CHECK(server.service.seen().empty());
}

TEST_CASE("No image is no request and no row") {
  FakeServer server;
  const auto result = Connect(server)->EmbedImages({});
  REQUIRE(result.ok());
  CHECK(result->rows.empty());
  CHECK(server.service.seen().empty());
}

TEST_CASE("What the caller wants reaches the server") {
  FakeServer server;
  const Images images(3);
  const auto client = Connect(server, {.token = "secret"});
  const auto result = client->EmbedImages(
      images.refs, {.normalize = false, .float16 = true, .bulk = true, .expect_fingerprint = "f"});
  CheckRows(result, 3);
  CHECK(result->row(0)[2] == 0);
  const auto seen = server.service.seen();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].authorization == "Bearer secret");
  CHECK(seen[0].expect_fingerprint == "f");
  CHECK(seen[0].priority == v1::PRIORITY_BULK);
}

TEST_CASE("Raw pixels and texts travel too") {
  FakeServer server;
  const auto client = Connect(server);
  const std::string rgb(12, 'x');
  const auto raw = client->EmbedImages(std::vector<ImageRef>{ImageRef::Raw(2, 2, rgb)});
  REQUIRE(raw.ok());
  CHECK(raw->row(0)[0] == 12);
  const auto text = client->EmbedTexts(std::vector<std::string>{"a cat"});
  REQUIRE(text.ok());
  CHECK(text->row(0)[0] == 5);
}

TEST_CASE("A full queue is tried again, not before the server's pushback") {
  FakeServer server;
  std::atomic<int64_t> refused{0}, retried{0};
  server.service.before = [&](int call, const v1::EmbedBatchRequest&, grpc::ServerContext* context) {
    (call == 0 ? refused : retried) = absl::GetCurrentTimeNanos();
    return call == 0 ? QueueFull(context, "150") : grpc::Status::OK;
  };
  const Images images(5);
  const auto result = Connect(server)->EmbedImages(images.refs);
  CheckRows(result, 5);
  CHECK(result->requests[0].attempts == 2);
  CHECK(retried - refused >= 150'000'000);
}

TEST_CASE("A negative pushback ends the call at once") {
  FakeServer server;
  server.service.before = [](int, const v1::EmbedBatchRequest&, grpc::ServerContext* context) {
    return QueueFull(context, "-1");
  };
  const Images images(5);
  const auto result = Connect(server)->EmbedImages(images.refs);
  CHECK(absl::IsResourceExhausted(result.status()));
  CHECK(ErrorReason(result.status()) == "QUEUE_FULL");
  CHECK(server.service.seen().size() == 1);
}

TEST_CASE("A request over 256 KiB is tried again like a small one") {
  FakeServer server;
  server.service.before = [](int call, const v1::EmbedBatchRequest&, grpc::ServerContext*) {
    return call < 2 ? Loading() : grpc::Status::OK;
  };
  const std::string large(5 << 20, 'x');
  const auto result = Connect(server)->EmbedImages(std::vector<ImageRef>{ImageRef::File(large)});
  REQUIRE(result.ok());
  CHECK(result->requests[0].attempts == 3);
  CHECK(result->row(0)[0] == static_cast<float>(large.size()));
}

TEST_CASE("An error that another attempt cannot cure ends the call and cancels the rest") {
  FakeServer server;
  server.service.before = [](int call, const v1::EmbedBatchRequest&, grpc::ServerContext*) {
    return call == 0 ? grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "inputs[0]: no") : grpc::Status::OK;
  };
  const Images images(50);
  const auto result =
      Connect(server, {.max_in_flight = 1, .max_request_images = 1})->EmbedImages(images.refs);
  CHECK(absl::IsInvalidArgument(result.status()));
  CHECK(server.service.seen().size() == 1);
}

TEST_CASE("The deadline of a call holds across all its attempts") {
  FakeServer server;
  server.service.before = [](int, const v1::EmbedBatchRequest&, grpc::ServerContext* context) {
    return QueueFull(context, "20");
  };
  const Images images(1);
  const auto client = Connect(server, {.retry_for = absl::Hours(1)});
  const auto result = client->EmbedImages(images.refs, {.deadline = absl::Now() + absl::Milliseconds(200)});
  CHECK_FALSE(result.ok());  // and it ended, an hour before retry_for would have ended it
}

TEST_CASE("After the first answer no other model may answer the rest of the call") {
  FakeServer server;
  const Images images(3);
  CheckRows(Connect(server, {.max_in_flight = 1, .max_request_images = 1})->EmbedImages(images.refs), 3);
  const auto seen = server.service.seen();
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].expect_fingerprint.empty());
  CHECK(seen[1].expect_fingerprint == "fake-1");
  CHECK(seen[2].expect_fingerprint == "fake-1");
}

TEST_CASE("A job outlives the restart of its server: every row once and right, one warning") {
  auto first = std::make_unique<FakeServer>();
  const int port = first->port();
  Mutex mu;
  CondVar changed;
  int calls = 0;
  bool open = false;
  // The fourth request and those after it are in the server when it dies.
  first->service.before = [&](int call, const v1::EmbedBatchRequest&, grpc::ServerContext*) {
    MutexLock lock(&mu);
    ++calls;
    changed.SignalAll();
    while (call >= 3 && !open) changed.Wait(&mu);
    return grpc::Status::OK;
  };
  std::atomic<int> outages{0}, returns{0};
  const auto client =
      Connect(*first, {.max_request_images = 10, .on_outage = [&](const std::string& message) {
                         ++(message.find("again for") != std::string::npos ? outages : returns);
                       }});
  const Images images(200);
  auto job = std::async(std::launch::async, [&] { return client->EmbedImages(images.refs); });
  {
    MutexLock lock(&mu);
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (calls < 5 && absl::Now() < give_up) changed.WaitFor(&mu, absl::Seconds(1));
  }
  // Shutdown waits for the handlers, so they are let go once it has cut the connections.
  std::thread killer([&] { first->Kill(); });
  {
    MutexLock lock(&mu);
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (outages == 0 && absl::Now() < give_up) changed.WaitFor(&mu, absl::Milliseconds(5));
    open = true;
    changed.SignalAll();
  }
  killer.join();
  FakeServer second(port);
  const auto result = job.get();
  CheckRows(result, 200);
  CHECK(outages == 1);
  CHECK(returns == 1);
}

TEST_CASE("The call that finds no server says so and names it") {
  std::string target;
  {
    FakeServer server;
    target = server.target();
  }
  const auto client = Client::Create({.target = target, .retry_for = absl::ZeroDuration()});
  const auto info = (*client)->GetServerInfo();
  CHECK(absl::IsUnavailable(info.status()));
  CHECK(std::string(info.status().message()).find(target) != std::string::npos);
}

TEST_CASE("The server's description arrives whole") {
  FakeServer server;
  server.service.info.mutable_batching()->add_buckets(8);
  server.service.info.mutable_memory()->set_peak_bytes(123);
  const auto info = Connect(server)->GetServerInfo();
  REQUIRE(info.ok());
  CHECK(info->state == "READY");
  CHECK(info->model.name == "fake");
  CHECK(info->limits.queue_images == 1024);
  CHECK(info->batching.buckets == std::vector<uint32_t>{8});
  CHECK(info->memory.peak == 123);
}

TEST_CASE("Threads share one client") {
  FakeServer server;
  const auto client = Connect(server);
  const Images images(40);
  std::vector<std::future<absl::StatusOr<EmbedResult>>> jobs;
  for (int i = 0; i < 8; ++i) {
    jobs.push_back(std::async(std::launch::async, [&] { return client->EmbedImages(images.refs); }));
  }
  for (auto& job : jobs) CheckRows(job.get(), 40);
}

TEST_CASE("Options that cannot work are refused, and the option is named") {
  const auto message = [](Options options) {
    return std::string(Client::Create(options).status().message());
  };
  CHECK(message({.target = ""}).find("target") != std::string::npos);
  CHECK(message({.token = "two words"}).find("token") != std::string::npos);
  CHECK(message({.token = "line\n"}).find("token") != std::string::npos);
  CHECK(message({.max_in_flight = 0}).find("max_in_flight") != std::string::npos);
  CHECK(message({.tls = TlsOptions{.ca_file = "/nonexistent/ca.pem"}}).find("/nonexistent/ca.pem") !=
        std::string::npos);
  CHECK(message({.tls = TlsOptions{.cert_file = "/etc/hostname"}}).find("key") != std::string::npos);
}

}  // namespace
}  // namespace embedd::client
