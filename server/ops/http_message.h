// SPDX-License-Identifier: Apache-2.0
//
// The part of HTTP/1.1 that HttpServer speaks: the head of a GET request in, one response out, connection
// closed. Pure functions over bytes; what comes in is hostile.

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace embedd {

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Path, for example "/metrics", to what makes its answer. Runs on the thread of the server, so it must not
// block.
using HttpRoutes = std::map<std::string, std::function<HttpResponse()>>;

// Longest head of a request. Browsers send about 1 KiB, Prometheus less.
inline constexpr size_t kMaxRequestHead = 8192;

// True when `bytes` hold a whole head, that is up to its empty line.
bool HasWholeHead(absl::string_view bytes);

// The bytes to send for a whole head: the answer of the route; 400, 404 or 405 where there is none; 500 when
// it threw.
std::string Answer(absl::string_view head, const HttpRoutes& routes);
// The bytes to send for an error that was found before the head was whole: 431.
std::string ErrorAnswer(int status);

}  // namespace embedd
