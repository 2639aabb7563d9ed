// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_message.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

HttpHead Head(const std::string& bytes) {
  HttpHead head;
  const HeadState state = ParseHead(bytes, &head);
  INFO(bytes);
  CHECK(state.problem.text == "");
  CHECK(state.size == bytes.size());
  return head;
}

// 0: it is a head, or the beginning of one.
int StatusOf(const std::string& bytes) {
  HttpHead head;
  return ParseHead(bytes, &head).problem.status;
}

TEST_CASE("A head is whole at its empty line, and what follows is not its") {
  HttpHead head;
  for (const char* part :
       {"", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\n\r"}) {
    INFO(part);
    const HeadState state = ParseHead(part, &head);
    CHECK((state.size == 0 && state.problem.status == 0));
  }
  for (const char* whole : {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\nA: b\n\r\n"}) {
    INFO(whole);
    CHECK(ParseHead(absl::StrCat(whole, "\n\nbody"), &head).size == std::string(whole).size());
  }
}

TEST_CASE("Method and path are read, without query and fragment, and with them what a door looks at") {
  HttpHead head = Head(
      "POST /v1/a%20b?x=1#y HTTP/1.1\r\nHost: a\r\ncontent-length: 12\r\nExpect: 100-Continue\r\n"
      "Authorization:  Bearer x \r\ntraceparent: 00-1\r\nX-Request-Timeout: 2.5\r\n\r\n");
  CHECK(head.method == "POST");
  CHECK(head.path == "/v1/a%20b");
  CHECK(PercentDecoded(head.path) == "/v1/a b");
  CHECK(head.content_length == 12);
  CHECK(head.expect_continue);
  CHECK(head.authorization == "Bearer x");
  CHECK(head.traceparent == "00-1");
  CHECK(head.timeout == absl::Seconds(2.5));
  head = Head("GET /#y HTTP/1.1\r\nX-Request-Timeout: soon\r\n\r\n");
  CHECK((head.path == "/" && head.content_length == 0 && head.timeout == absl::InfiniteDuration()));
}

TEST_CASE("A connection is kept as the version and the client say, and never after a lone LF") {
  CHECK(Head("GET / HTTP/1.1\r\n\r\n").keep_alive);
  CHECK_FALSE(Head("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n").keep_alive);
  CHECK_FALSE(Head("GET / HTTP/1.0\r\n\r\n").keep_alive);
  CHECK(Head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
  CHECK_FALSE(Head("GET / HTTP/1.1\nConnection: keep-alive\n\n").keep_alive);
  CHECK_FALSE(Head("GET / HTTP/1.1\r\nA: b\nConnection: keep-alive\r\n\r\n").keep_alive);
}

TEST_CASE("What is no head is refused") {
  for (const char* head :
       {"\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n",
        "GET http://host/ HTTP/1.1\r\n\r\n", "\x16\x03\x01\n\n", "GET * HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n", "GET / http/1.1\r\n\r\n", "GET / HTTP/1.1\r\nno name\r\n\r\n",
        "GET / HTTP/1.1\r\nA : b\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"}) {
    INFO(head);
    CHECK(StatusOf(head) == 400);
  }
  CHECK(StatusOf("GET / HTTP/2.0\r\n\r\n") == 505);
  CHECK(StatusOf("GET / HTTP/1.1\r\nX: " + std::string(kMaxHead, 'a')) == 431);
  CHECK(StatusOf("GET / HTTP/1.1\r\nX: " + std::string(kMaxHead, 'a') + "\r\n\r\n") == 431);
  CHECK(StatusOf("GET / HTTP/1.1\r\n\r\n" + std::string(2 * kMaxHead, 'a')) == 0);
}

TEST_CASE("A body that comes in chunks or compressed is a fault of the body, not of the head") {
  CHECK(Head("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").body.status == 411);
  CHECK(Head("GET / HTTP/1.1\r\nContent-Encoding: gzip\r\n\r\n").body.status == 415);
  CHECK(Head("GET / HTTP/1.1\r\nContent-Encoding: Identity\r\n\r\n").body.status == 0);
}

TEST_CASE("A response has its length, also without its body") {
  const HttpResponse response{200, "text/html", "home", {{"Allow", "GET"}}};
  CHECK(WriteResponse(response, /*keep_alive=*/true, /*with_body=*/true) ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\nAllow: GET\r\n\r\nhome");
  CHECK(WriteResponse(response, /*keep_alive=*/false, /*with_body=*/false) ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\nAllow: GET\r\n"
        "Connection: close\r\n\r\n");
}

}  // namespace
}  // namespace embedd
