// SPDX-License-Identifier: Apache-2.0
//
// One client and several servers, on ports of their own.

#include <set>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cpp/src/diagnose.h"
#include "embedd/client.h"
#include "tests/support/catch.h"
#include "tests/unit/client/fake_service.h"

namespace embedd::client {
namespace {

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Images of 1, 2, 3, … bytes: the fake's vector begins with the number of bytes.
struct Images {
  explicit Images(size_t count) {
    for (size_t i = 0; i < count; ++i) bytes.emplace_back(i + 1, 'x');
    for (const auto& one : bytes) refs.push_back(ImageRef::File(one));
  }
  std::vector<std::string> bytes;
  std::vector<ImageRef> refs;
};

void CheckRows(const absl::StatusOr<EmbedResult>& result, size_t count) {
  INFO(result.status().ToString());
  REQUIRE(result.ok());
  for (size_t i = 0; i < count; ++i) CHECK(result->row(i)[0] == static_cast<float>(i + 1));
}

std::unique_ptr<Client> Connect(Options options) {
  auto client = Client::Create(std::move(options));
  REQUIRE(client.ok());
  return *std::move(client);
}

std::string Gone() {
  FakeServer server;
  return server.target();
}

TEST_CASE("One call uses all servers, and each input once") {
  FakeServer a, b, c;
  const auto client =
      Connect({.target = absl::StrCat(a.target(), ",grpc://", b.target(), ", ipv4:", c.target()),
               .max_request_images = 5});
  const Images images(300);
  CheckRows(client->EmbedImages(images.refs), 300);
  size_t inputs = 0;
  for (const FakeServer* server : {&a, &b, &c}) {
    CHECK_FALSE(server->service.seen().empty());
    for (const auto& seen : server->service.seen()) inputs += seen.inputs;
  }
  CHECK(inputs == 300);
}

TEST_CASE("A server that is away, and one that refuses, are left out at once and told once each") {
  FakeServer refusing, good;
  refusing.service.before = [](int, const v1::EmbedBatchRequest&, grpc::ServerContext* context) {
    return QueueFull(context, "600000");
  };
  std::vector<std::string> told;
  const std::string gone = Gone();
  const auto client = Connect({.target = absl::StrJoin({gone, refusing.target(), good.target()}, ","),
                               .max_request_images = 5,
                               .on_outage = [&](const std::string& message) { told.push_back(message); }});
  const Images images(100);
  const absl::Time begin = absl::Now();
  CheckRows(client->EmbedImages(images.refs), 100);
  CHECK(absl::Now() - begin < absl::Minutes(1));
  CHECK(refusing.service.seen().size() <= 8);  // those that were sent before the first refusal came
  REQUIRE(told.size() == 1);
  CHECK(Contains(told[0], gone));
}

TEST_CASE("A server that drains is left before it refuses anything") {
  using Health = grpc::health::v1::HealthCheckResponse;
  FakeServer victim, good;
  victim.health.status = Health::NOT_SERVING;
  victim.service.before = [&](int, const v1::EmbedBatchRequest&, grpc::ServerContext*) {
    const absl::Time end = absl::Now() + absl::Seconds(10);
    while (victim.health.checks == 0 && absl::Now() < end) std::this_thread::yield();
    return grpc::Status::OK;
  };
  std::vector<std::string> told;
  const auto client = Connect({.target = absl::StrCat(victim.target(), ",", good.target()),
                               .max_in_flight = 2,
                               .max_request_images = 1,
                               .on_outage = [&](const std::string& message) { told.push_back(message); }});
  const Images images(400);
  CheckRows(client->EmbedImages(images.refs), 400);
  CHECK(victim.health.checks.load() > 0);
  const size_t seen = victim.service.seen().size();
  CHECK(seen + good.service.seen().size() == 400);
  CHECK(seen <= 100);  // what was sent before its answer came
  CHECK(told.empty());
}

TEST_CASE("Two models end the call, and both servers are named") {
  FakeServer a, b;
  b.service.info.mutable_model()->set_fingerprint("fake-2");
  const auto client = Connect({.target = absl::StrCat(a.target(), ",", b.target()), .max_request_images = 2});
  const Images images(100);
  const auto result = client->EmbedImages(images.refs);
  CHECK(ErrorReason(result.status()) == "MODEL_MISMATCH");
  CHECK(Contains(std::string(result.status().message()), a.target()));
  CHECK(Contains(std::string(result.status().message()), b.target()));
}

TEST_CASE("UNIMPLEMENTED after a success is a broken transport: tried again, told once") {
  FakeServer server;
  server.service.before = [](int call, const v1::EmbedBatchRequest&, grpc::ServerContext*) {
    return call == 2 || call == 3 ? grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "") : grpc::Status::OK;
  };
  int told = 0;
  const auto client = Connect({.target = server.target(),
                               .max_in_flight = 1,
                               .max_request_images = 5,
                               .on_outage = [&](const std::string& m) { told += Contains(m, "proxy"); }});
  const Images images(30);
  CheckRows(client->EmbedImages(images.refs), 30);
  CHECK(told == 1);
  server.service.before = [](int, const v1::EmbedBatchRequest&, grpc::ServerContext*) {
    return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "old");
  };
  CHECK(absl::IsUnimplemented(Connect({.target = server.target()})->EmbedImages(images.refs).status()));
}

TEST_CASE("Every server is described, and why one is not") {
  FakeServer a, b;
  const std::string gone = Gone();
  const auto client = Connect({.target = absl::StrJoin({a.target(), gone, b.target()}, ",")});
  const auto infos = client->GetServerInfos();
  REQUIRE(infos.size() == 3);
  CHECK(infos[0].info->model.name == "fake");
  CHECK(infos[1].target == gone);
  CHECK(absl::IsUnavailable(infos[1].info.status()));
  CHECK(infos[2].info.ok());
  CHECK(client->GetServerInfo().ok());
}

TEST_CASE("Texts are embedded, empty ones too; what is not UTF-8 fails alone") {
  FakeServer server;
  server.service.info.mutable_model()->set_text_fingerprint("fake-1");
  const auto client = Connect({.target = server.target()});
  const std::vector<std::string> texts{"four",         "",         "na\xc3\xafve",    "\xff",
                                       "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80"};
  const auto result = client->EmbedTexts(texts);
  REQUIRE(result.ok());
  CHECK(result->row(0)[0] == 4);
  CHECK(result->row(1)[0] == 0);
  CHECK(result->row(2)[0] == 6);
  REQUIRE(result->errors.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(result->errors[i].index == i + 3);
    CHECK(result->errors[i].reason == "INVALID_TEXT");
  }
}

TEST_CASE("A server on this machine is never asked through a proxy") {
  FakeServer server;
  const std::string proxy = "http://" + Gone();
  setenv("http_proxy", proxy.c_str(), 1);
  setenv("https_proxy", proxy.c_str(), 1);
  const Images images(3);
  CheckRows(Connect({.target = server.target()})->EmbedImages(images.refs), 3);
  const auto far =
      Connect({.target = "192.0.2.1:50051", .timeout = absl::Seconds(5), .retry_for = absl::ZeroDuration()});
  CHECK(Contains(std::string(far->GetServerInfo().status().message()), "https_proxy=" + proxy));
  unsetenv("http_proxy");
  unsetenv("https_proxy");
}

TEST_CASE("TLS against a server without it is explained, also where the name has another address") {
  FakeServer server;
  const auto status = Connect({.target = absl::StrCat("grpcs://localhost:", server.port()),
                               .retry_for = absl::ZeroDuration()})
                          ->GetServerInfo()
                          .status();
  CHECK(absl::IsUnavailable(status));
  CHECK(Contains(std::string(status.message()), "speaks no TLS"));
  CHECK(internal::DiagnoseTls(internal::ParseTargets(server.target())[0], false).empty());
  CHECK(internal::DiagnoseTls(internal::ParseTargets(Gone())[0], false).empty());
}

}  // namespace
}  // namespace embedd::client
