// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_server.h"

#include <poll.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/catch.h"
#include "tests/support/raw_client.h"

namespace embedd {
namespace {

// Answers at once, one request a connection.
HttpServer::Options WithPages() {
  HttpServer::Options options{.name = "http", .address = "127.0.0.1:0"};
  options.admit = [](const HttpHead& head, std::shared_ptr<void>*) -> HttpResponse {
    if (head.path == "/") return {200, "text/plain", "home"};
    if (head.path == "/long") return {200, "text/plain", std::string(8 << 20, 'x')};
    return {404};
  };
  options.error = [](const HttpProblem& problem) {
    return HttpResponse{problem.status, "text/plain", problem.text};
  };
  options.idle_time = absl::ZeroDuration();
  return options;
}

std::string Get(int port, const std::string& path) {
  RawClient client(port);
  client.Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: test\r\n\r\n"));
  const std::string answer = client.ReadAll();
  CHECK(client.closed());
  return answer;
}

TEST_CASE("Port 0 takes a free port, and requests are answered") {
  const auto server = HttpServer::Start(WithPages()).value();
  REQUIRE(server->port() > 0);
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200 OK", 0) == 0);
  CHECK(Get(server->port(), "/x").rfind("HTTP/1.1 404", 0) == 0);
  const std::string answer = Get(server->port(), "/long");
  CHECK(answer.size() > (8u << 20));
}

TEST_CASE("A port in use is AlreadyExists, a bad address InvalidArgument") {
  const auto server = HttpServer::Start(WithPages()).value();
  HttpServer::Options options = WithPages();
  options.address = absl::StrCat("127.0.0.1:", server->port());
  const absl::Status status = HttpServer::Start(options).status();
  CHECK(status.code() == absl::StatusCode::kAlreadyExists);
  CHECK(std::string(status.message()).find(options.address) != std::string::npos);
  options.address = "192.0.2.1:0";  // reserved for documentation: no machine has it
  CHECK(HttpServer::Start(options).status().code() == absl::StatusCode::kInvalidArgument);
  options.address = "unix:x";
  CHECK(HttpServer::Start(options).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("The port is free again when the server is gone") {
  auto server = HttpServer::Start(WithPages()).value();
  HttpServer::Options options = WithPages();
  options.address = absl::StrCat("127.0.0.1:", server->port());
  RawClient waiting(server->port());
  server.reset();
  CHECK(waiting.ReadAll().empty());
  CHECK(HttpServer::Start(options).ok());
}

TEST_CASE("Clients that send nothing, or not all, or do not read, hold up nobody") {
  const auto server = HttpServer::Start(WithPages()).value();
  RawClient silent(server->port());
  RawClient dripping(server->port());
  dripping.Send("GET / HT");
  RawClient not_reading(server->port());
  not_reading.Send("GET /long HTTP/1.1\r\n\r\n");
  for (int i = 0; i < 10; ++i) CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);
  dripping.Send("TP/1.1\r\n\r\n");
  CHECK(dripping.ReadAll().rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("A connection ends when its time is over, even one that goes on sending") {
  SimulatedClock clock;
  HttpServer::Options options = WithPages();
  options.clock = &clock;
  const auto server = HttpServer::Start(options).value();
  RawClient dripping(server->port());
  dripping.Send("GET / HTTP/1.1\r\n");
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);  // so dripping was accepted before
  clock.AdvanceTime(options.head_time);
  dripping.Send("X: y\r\n");
  CHECK(dripping.ReadAll().empty());
  CHECK(dripping.closed());
}

TEST_CASE("When all connections are taken, the oldest makes room after its second") {
  SimulatedClock clock;
  HttpServer::Options options = WithPages();
  options.clock = &clock;
  options.max_connections = 4;
  const auto server = HttpServer::Start(options).value();
  std::vector<std::unique_ptr<RawClient>> silent;
  for (int i = 0; i < 3; ++i) silent.push_back(std::make_unique<RawClient>(server->port()));
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);  // the fourth place; the three are in
  silent.push_back(std::make_unique<RawClient>(server->port()));
  clock.AdvanceTime(options.min_time);
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);
  CHECK(silent[0]->ReadAll().empty());
  CHECK(silent[0]->closed());
}

TEST_CASE("A byte of a head now and then keeps no place") {
  SimulatedClock clock;
  HttpServer::Options options = WithPages();
  options.clock = &clock;
  options.max_connections = 2;
  const auto server = HttpServer::Start(options).value();
  RawClient dripping(server->port());
  dripping.Send("G");
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);  // so the byte was seen
  for (int i = 0; i < 2; ++i) {
    clock.AdvanceTime(options.min_time * 0.6);
    dripping.Send("E");
    CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);
  }
  RawClient other(server->port());
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);
  CHECK(dripping.ReadAll().empty());
  CHECK(dripping.closed());
}

// Stands still, and counts how often it was asked.
class CountingClock final : public Clock {
 public:
  absl::Time TimeNow() const override {
    ++asked_;
    return absl::UnixEpoch();
  }
  // Until the loop of the server has gone round.
  void WaitForRound() const {
    for (const int before = asked_; asked_ < before + 4;) std::this_thread::yield();
  }
  int asked() const { return asked_; }

 private:
  mutable std::atomic<int> asked_{0};
};

TEST_CASE("Before its second is over, a connection makes no room: the others wait") {
  CountingClock clock;
  HttpServer::Options options = WithPages();
  options.clock = &clock;
  options.max_connections = 2;
  const auto server = HttpServer::Start(options).value();
  auto first = std::make_unique<RawClient>(server->port());
  first->Send("GET / HTTP/1.1\r\n");
  RawClient second(server->port());
  RawClient third(server->port());
  third.Send("GET / HTTP/1.1\r\n\r\n");
  clock.WaitForRound();
  first->Send("\r\n");
  CHECK(first->ReadAll().rfind("HTTP/1.1 200", 0) == 0);
  first.reset();
  CHECK(third.ReadAll().rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("A head that is too long is refused") {
  const auto server = HttpServer::Start(WithPages()).value();
  RawClient client(server->port());
  client.Send("GET / HTTP/1.1\r\nX: " + std::string(2 * kMaxHead, 'a') + "\r\n\r\n");
  CHECK(client.ReadAll().rfind("HTTP/1.1 431", 0) == 0);
}

TEST_CASE("A client that reads nothing of a long answer costs no processor time") {
  CountingClock clock;
  HttpServer::Options options = WithPages();
  options.clock = &clock;
  const auto server = HttpServer::Start(options).value();
  RawClient client(server->port());
  client.Send("GET /long HTTP/1.1\r\n\r\n");
  client.ReadUntil("\r\n\r\n");
  const int before = clock.asked();
  poll(nullptr, 0, 200);  // a thread that goes round and round does so ten thousands of times
  CHECK(clock.asked() - before < 1000);
}

TEST_CASE("One request after the other on a connection, where the door keeps it") {
  HttpServer::Options options = WithPages();
  options.idle_time = absl::Seconds(60);
  const auto server = HttpServer::Start(options).value();
  RawClient client(server->port());
  client.Send("HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(client.ReadUntil("home").find("home") != std::string::npos);
  client.Send("POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n");
  const std::string rest = client.ReadAll();
  CHECK(client.closed());
  CHECK(rest.find("HTTP/1.1 404") == 0);
  CHECK(rest.find("Connection: close\r\n\r\nhome") != std::string::npos);
}

TEST_CASE(
    "A body is handed on whole; one that cannot be read is refused, unless the door answers without it") {
  HttpServer::Options options = WithPages();
  options.idle_time = absl::Seconds(60);
  options.work_threads = 1;
  options.admit = [](const HttpHead& head, std::shared_ptr<void>*) -> std::optional<HttpResponse> {
    if (head.method == "GET") return HttpResponse{200, "text/plain", "home"};
    return std::nullopt;
  };
  options.handle = [](const std::shared_ptr<HttpCall>& call) {
    call->Answer({200, "text/plain", "got " + call->body});
  };
  const auto server = HttpServer::Start(options).value();
  RawClient client(server->port());
  client.Send("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab");
  client.Send("cdPOST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nxy");
  CHECK(client.ReadUntil("got abcd").find("HTTP/1.1 200") == 0);
  CHECK(client.ReadUntil("got xy").find("HTTP/1.1 200") == 0);
  const auto answer = [&](const std::string& method, const std::string& header) {
    RawClient own(server->port());
    own.Send(absl::StrCat(method, " / HTTP/1.1\r\n", header, "\r\n\r\n"));
    const std::string all = own.ReadAll();
    CHECK(own.closed());
    return all.substr(0, 12);
  };
  CHECK(answer("POST", "Transfer-Encoding: chunked") == "HTTP/1.1 411");
  CHECK(answer("POST", "Content-Encoding: gzip") == "HTTP/1.1 415");
  CHECK(answer("GET", "Transfer-Encoding: chunked") == "HTTP/1.1 200");
}

}  // namespace
}  // namespace embedd
