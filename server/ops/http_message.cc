// SPDX-License-Identifier: Apache-2.0

#include "server/ops/http_message.h"

#include <exception>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/ops/http_phrase.h"
#include "server/support/log.h"

namespace embedd {
namespace {

// Everything on the status page is inline and comes from here, so nothing else may load or run on it.
constexpr char kSecurityHeaders[] =
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:\r\n";

std::string Serialize(const HttpResponse& response, bool with_body) {
  return absl::StrCat("HTTP/1.1 ", response.status, " ", HttpPhrase(response.status),
                      "\r\nContent-Type: ", response.content_type,
                      "\r\nContent-Length: ", response.body.size(), "\r\nConnection: close\r\n",
                      response.status == 405 ? "Allow: GET, HEAD\r\n" : "", kSecurityHeaders, "\r\n",
                      with_body ? response.body : std::string());
}

HttpResponse Call(const std::function<HttpResponse()>& route) {
  try {
    return route();
  } catch (const std::exception& error) {
    LogError("a page of the HTTP server failed", {{"error", error.what()}});
  } catch (...) {
    LogError("a page of the HTTP server failed");
  }
  return {500, "text/plain; charset=utf-8", "internal error\n"};
}

}  // namespace

bool HasWholeHead(absl::string_view bytes) {
  return absl::StrContains(bytes, "\r\n\r\n") || absl::StrContains(bytes, "\n\n");
}

std::string Answer(absl::string_view head, const HttpRoutes& routes) {
  absl::string_view line = head.substr(0, head.find('\n'));
  if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
  const std::pair<absl::string_view, absl::string_view> split = absl::StrSplit(line, absl::MaxSplits(' ', 1));
  const auto [method, rest] = split;
  const size_t space = rest.rfind(' ');
  if (space == absl::string_view::npos || !absl::StartsWith(rest.substr(space + 1), "HTTP/1.") ||
      !absl::StartsWith(rest, "/")) {
    return ErrorAnswer(400);
  }
  if (method != "GET" && method != "HEAD") return ErrorAnswer(405);
  const absl::string_view target = rest.substr(0, space);
  const auto route = routes.find(std::string(target.substr(0, target.find_first_of("?#"))));
  if (route == routes.end()) return ErrorAnswer(404);
  return Serialize(Call(route->second), method == "GET");
}

std::string ErrorAnswer(int status) {
  return Serialize({status, "text/plain; charset=utf-8", absl::StrCat(HttpPhrase(status), "\n")}, true);
}

}  // namespace embedd
