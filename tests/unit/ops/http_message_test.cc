// SPDX-License-Identifier: Apache-2.0

#include "server/ops/http_message.h"

#include <stdexcept>
#include <string>

#include "server/support/log.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

HttpRoutes Routes() {
  HttpRoutes routes;
  routes["/"] = [] { return HttpResponse{200, "text/html", "home"}; };
  routes["/down"] = [] { return HttpResponse{503, "text/plain", "LOADING\n"}; };
  routes["/throws"] = []() -> HttpResponse { throw std::runtime_error("secret detail"); };
  return routes;
}

std::string StatusOf(const std::string& head) {
  const std::string answer = Answer(head, Routes());
  REQUIRE(answer.rfind("HTTP/1.1 ", 0) == 0);
  return answer.substr(9, 3);
}

TEST_CASE("A head is whole at its empty line") {
  CHECK_FALSE(HasWholeHead("GET / HTTP/1.1\r\nHost: a\r\n"));
  CHECK(HasWholeHead("GET / HTTP/1.1\r\n\r\n"));
  CHECK(HasWholeHead("GET / HTTP/1.1\n\n"));
  CHECK_FALSE(HasWholeHead(""));
}

TEST_CASE("GET and HEAD of a known path are answered, with the length and without caching") {
  const std::string answer = Answer("GET /?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", Routes());
  CHECK(answer.rfind("HTTP/1.1 200 OK\r\n", 0) == 0);
  for (const char* header : {"Content-Type: text/html\r\n", "Content-Length: 4\r\n", "Connection: close\r\n",
                             "Cache-Control: no-store\r\n", "X-Content-Type-Options: nosniff\r\n"}) {
    CHECK(answer.find(header) != std::string::npos);
  }
  CHECK(answer.substr(answer.size() - 8) == "\r\n\r\nhome");
  const std::string head = Answer("HEAD / HTTP/1.0\r\n\r\n", Routes());
  CHECK(head.find("Content-Length: 4\r\n") != std::string::npos);
  CHECK(head.substr(head.size() - 4) == "\r\n\r\n");
  CHECK(StatusOf("GET /down HTTP/1.1\r\n\r\n") == "503");
}

TEST_CASE("Everything else is refused") {
  CHECK(StatusOf("GET /nothing HTTP/1.1\r\n\r\n") == "404");
  CHECK(StatusOf("GET /../etc/passwd HTTP/1.1\r\n\r\n") == "404");
  CHECK(StatusOf("POST / HTTP/1.1\r\n\r\n") == "405");
  CHECK(StatusOf("get / HTTP/1.1\r\n\r\n") == "405");
  for (const char* head :
       {"\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n",
        "GET http://host/ HTTP/1.1\r\n\r\n", "\x16\x03\x01\n\n", "GET * HTTP/1.1\r\n\r\n"}) {
    INFO(head);
    CHECK(StatusOf(head) == "400");
  }
}

TEST_CASE("A page that throws is an internal error, and says nothing about it") {
  ConfigureLogging("error", "json");
  const std::string answer = Answer("GET /throws HTTP/1.1\r\n\r\n", Routes());
  ConfigureLogging("info", "text");
  CHECK(answer.rfind("HTTP/1.1 500 ", 0) == 0);
  CHECK(answer.find("secret") == std::string::npos);
}

}  // namespace
}  // namespace embedd
