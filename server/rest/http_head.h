// SPDX-License-Identifier: Apache-2.0
//
// The part of HTTP/1.1 that the REST door speaks: the head of a request in, a response out. Bodies have a
// Content-Length; connections stay open for the next request. Pure functions over bytes; what comes in is
// hostile.

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

// Longest head of a request. Clients send about 1 KiB.
inline constexpr size_t kMaxRestHead = 16384;

struct RestHead {
  std::string method, path;  // without query
  int64_t content_length = 0;
  bool keep_alive = true;
  bool expect_continue = false;                       // the client waits for a word before it sends the body
  std::string authorization;                          // as sent; empty without
  std::string traceparent;                            // the same
  absl::Duration timeout = absl::InfiniteDuration();  // how long the client says it waits
};

struct RestResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;  // beside content type and length
  std::string body;                                          // JSON
  std::shared_ptr<void> hold;  // lives until the response has left or the client is gone
};

// How far `bytes` hold a request's head.
struct HeadState {
  size_t size = 0;      // of the head with its empty line; 0: it is not whole yet
  int error = 0;        // or what to answer before closing: 400, 411, 415, 431, 505
  std::string problem;  // for people
};
HeadState ParseHead(absl::string_view bytes, RestHead* head);

// A part of a path as it is meant: "a%20b" is "a b". What is no such sign stays.
std::string PercentDecoded(absl::string_view part);

// The bytes to send.
std::string WriteResponse(const RestResponse& response, bool keep_alive);

// An error as OpenAI's API writes it: {"error": {"message", "type", "param", "code"}}. `param` and `code` are
// null where empty.
RestResponse ErrorResponse(int status, absl::string_view message, absl::string_view param = "",
                           absl::string_view code = "");

}  // namespace embedd
