// SPDX-License-Identifier: Apache-2.0
//
// The part of HTTP/1.1 that HttpServer speaks: the head of a request in, a response out. Bodies have a
// Content-Length. Pure functions over bytes; what comes in is hostile.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace embedd {

// Longest head of a request. Browsers and other clients send about 1 KiB.
inline constexpr size_t kMaxHead = 16384;

// What is wrong with a request.
struct HttpProblem {
  int status = 0;    // to answer before closing; 0: nothing is wrong
  std::string text;  // for people
};

struct HttpHead {
  std::string method, path;  // without query
  int64_t content_length = 0;
  bool keep_alive = true;
  bool expect_continue = false;                       // the client waits for a word before it sends the body
  std::string authorization;                          // as sent; empty without
  std::string traceparent;                            // the same
  absl::Duration timeout = absl::InfiniteDuration();  // how long the client says it waits
  HttpProblem body;                                   // why its body cannot be read: 411, 415
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // beside content type and length
  std::shared_ptr<void> hold;  // lives until the response has left or the client is gone
};

// How far `bytes` hold a request's head.
struct HeadState {
  size_t size = 0;      // of the head with its empty line; 0: it is not whole yet
  HttpProblem problem;  // or what it is instead of one: 400, 431, 505
};
HeadState ParseHead(absl::string_view bytes, HttpHead* head);

// A part of a path as it is meant: "a%20b" is "a b". What is no such sign stays.
std::string PercentDecoded(absl::string_view part);

// The bytes to send; an answer to HEAD has no body.
std::string WriteResponse(const HttpResponse& response, bool keep_alive, bool with_body);

}  // namespace embedd
