// SPDX-License-Identifier: Apache-2.0

#include "server/ops/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

// A client that can stop at any byte.
class Client {
 public:
  explicit Client(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    timeval limit = {20, 0};  // a test that fails does not hang
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    REQUIRE(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Send(const std::string& bytes) {
    REQUIRE(send(fd_, bytes.data(), bytes.size(), 0) == ssize_t(bytes.size()));
  }
  // Everything until the server closes.
  std::string ReadAll() {
    std::string all;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = recv(fd_, buffer, sizeof(buffer), 0)) > 0) all.append(buffer, static_cast<size_t>(n));
    closed_ = n == 0 || errno == ECONNRESET;  // reset: it had not read all that was sent
    return all;
  }
  bool closed() const { return closed_; }  // by the server, and not by the time limit

 private:
  const int fd_;
  bool closed_ = false;
};

HttpServer::Options WithRoutes() {
  HttpServer::Options options;
  options.address = "127.0.0.1:0";
  options.routes["/"] = [] { return HttpResponse{200, "text/plain", "home"}; };
  options.routes["/long"] = [] { return HttpResponse{200, "text/plain", std::string(8 << 20, 'x')}; };
  return options;
}

std::string Get(int port, const std::string& path) {
  Client client(port);
  client.Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: test\r\n\r\n"));
  const std::string answer = client.ReadAll();
  CHECK(client.closed());
  return answer;
}

TEST_CASE("Port 0 takes a free port, and requests are answered") {
  const auto server = HttpServer::Start(WithRoutes()).value();
  REQUIRE(server->port() > 0);
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200 OK", 0) == 0);
  CHECK(Get(server->port(), "/x").rfind("HTTP/1.1 404", 0) == 0);
  const std::string answer = Get(server->port(), "/long");
  CHECK(answer.size() > (8u << 20));
}

TEST_CASE("A port in use is AlreadyExists, a bad address InvalidArgument") {
  const auto server = HttpServer::Start(WithRoutes()).value();
  HttpServer::Options options = WithRoutes();
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
  auto server = HttpServer::Start(WithRoutes()).value();
  HttpServer::Options options = WithRoutes();
  options.address = absl::StrCat("127.0.0.1:", server->port());
  Client waiting(server->port());
  server.reset();
  CHECK(waiting.ReadAll().empty());
  CHECK(HttpServer::Start(options).ok());
}

TEST_CASE("Clients that send nothing, or not all, or do not read, hold up nobody") {
  const auto server = HttpServer::Start(WithRoutes()).value();
  Client silent(server->port());
  Client dripping(server->port());
  dripping.Send("GET / HT");
  Client not_reading(server->port());
  not_reading.Send("GET /long HTTP/1.1\r\n\r\n");
  for (int i = 0; i < 10; ++i) CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);
  dripping.Send("TP/1.1\r\n\r\n");
  CHECK(dripping.ReadAll().rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("A connection ends when its time is over, even one that goes on sending") {
  SimulatedClock clock;
  HttpServer::Options options = WithRoutes();
  options.clock = &clock;
  const auto server = HttpServer::Start(options).value();
  Client dripping(server->port());
  dripping.Send("GET / HTTP/1.1\r\n");
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);  // so dripping was accepted before
  clock.AdvanceTime(options.max_time);
  dripping.Send("X: y\r\n");
  CHECK(dripping.ReadAll().empty());
  CHECK(dripping.closed());
}

TEST_CASE("When all connections are taken, the oldest makes room after its second") {
  SimulatedClock clock;
  HttpServer::Options options = WithRoutes();
  options.clock = &clock;
  options.max_connections = 4;
  const auto server = HttpServer::Start(options).value();
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 3; ++i) silent.push_back(std::make_unique<Client>(server->port()));
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);  // the fourth place; the three are in
  silent.push_back(std::make_unique<Client>(server->port()));
  clock.AdvanceTime(options.min_time);
  CHECK(Get(server->port(), "/").rfind("HTTP/1.1 200", 0) == 0);
  CHECK(silent[0]->ReadAll().empty());
  CHECK(silent[0]->closed());
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

 private:
  mutable std::atomic<int> asked_{0};
};

TEST_CASE("Before its second is over, a connection makes no room: the others wait") {
  CountingClock clock;
  HttpServer::Options options = WithRoutes();
  options.clock = &clock;
  options.max_connections = 2;
  const auto server = HttpServer::Start(options).value();
  auto first = std::make_unique<Client>(server->port());
  first->Send("GET / HTTP/1.1\r\n");
  Client second(server->port());
  Client third(server->port());
  third.Send("GET / HTTP/1.1\r\n\r\n");
  clock.WaitForRound();
  first->Send("\r\n");
  CHECK(first->ReadAll().rfind("HTTP/1.1 200", 0) == 0);
  first.reset();
  CHECK(third.ReadAll().rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("A head that is too long is refused") {
  const auto server = HttpServer::Start(WithRoutes()).value();
  Client client(server->port());
  client.Send("GET / HTTP/1.1\r\nX: " + std::string(2 * kMaxRequestHead, 'a') + "\r\n\r\n");
  CHECK(client.ReadAll().rfind("HTTP/1.1 431", 0) == 0);
}

}  // namespace
}  // namespace embedd
