// SPDX-License-Identifier: Apache-2.0

#include "server/rest/http_head.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/ops/http_phrase.h"

namespace embedd {
namespace {

HeadState Broken(int error, absl::string_view problem) {
  return {.error = error, .problem = std::string(problem)};
}

// A name of a method or header: RFC 9110's token.
bool IsToken(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && !absl::StrContains("!#$%&'*+-.^_`|~", c))
      return false;
  }
  return !text.empty();
}

// "600", "2.5": seconds. Anything else says nothing.
absl::Duration Seconds(absl::string_view value) {
  double seconds = 0;
  if (!absl::SimpleAtod(value, &seconds) || !std::isfinite(seconds) || seconds <= 0 || seconds > 1e9)
    return absl::InfiniteDuration();
  return absl::Seconds(seconds);
}

}  // namespace

HeadState ParseHead(absl::string_view bytes, RestHead* head) {
  const size_t end = bytes.find("\r\n\r\n");
  if (end == absl::string_view::npos ? bytes.size() > kMaxRestHead : end > kMaxRestHead)
    return Broken(431, "the head of the request is too long");
  if (end == absl::string_view::npos) return {};
  *head = RestHead();
  bool first = true, has_length = false;
  for (const absl::string_view line : absl::StrSplit(bytes.substr(0, end), "\r\n")) {
    if (first) {
      first = false;
      const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
      if (parts.size() != 3 || !IsToken(parts[0]) || !absl::StartsWith(parts[1], "/"))
        return Broken(400, "the request line is no METHOD /PATH HTTP/1.1");
      if (parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0") return Broken(505, "use HTTP/1.1");
      head->method = std::string(parts[0]);
      head->path = std::string(parts[1].substr(0, parts[1].find('?')));
      head->keep_alive = parts[2] == "HTTP/1.1";
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos || !IsToken(line.substr(0, colon)))
      return Broken(400, "a header has no name");
    const absl::string_view name = line.substr(0, colon);
    const absl::string_view value = absl::StripAsciiWhitespace(line.substr(colon + 1));
    if (absl::EqualsIgnoreCase(name, "content-length")) {
      // Two that differ are how requests are smuggled past a proxy, and so is a sign.
      int64_t length = 0;
      if (value.empty() || value.find_first_not_of("0123456789") != absl::string_view::npos ||
          !absl::SimpleAtoi(value, &length) || (has_length && length != head->content_length)) {
        return Broken(400, "Content-Length is no number");
      }
      head->content_length = length;
      has_length = true;
    } else if (absl::EqualsIgnoreCase(name, "transfer-encoding")) {
      return Broken(411, "send the body with a Content-Length, not in chunks");
    } else if (absl::EqualsIgnoreCase(name, "content-encoding")) {
      if (!absl::EqualsIgnoreCase(value, "identity"))
        return Broken(415,
                      "send the body as it is, without Content-Encoding: pictures are compressed already");
    } else if (absl::EqualsIgnoreCase(name, "connection")) {
      for (const absl::string_view word : absl::StrSplit(value, ',')) {
        const absl::string_view bare = absl::StripAsciiWhitespace(word);
        if (absl::EqualsIgnoreCase(bare, "close")) head->keep_alive = false;
        if (absl::EqualsIgnoreCase(bare, "keep-alive")) head->keep_alive = true;
      }
    } else if (absl::EqualsIgnoreCase(name, "expect")) {
      head->expect_continue = absl::EqualsIgnoreCase(value, "100-continue");
    } else if (absl::EqualsIgnoreCase(name, "authorization")) {
      head->authorization = std::string(value);
    } else if (absl::EqualsIgnoreCase(name, "traceparent")) {
      head->traceparent = std::string(value);
    } else if (absl::EqualsIgnoreCase(name, "x-request-timeout") ||
               absl::EqualsIgnoreCase(name, "x-stainless-read-timeout")) {  // what OpenAI's clients send
      head->timeout = std::min(head->timeout, Seconds(value));
    }
  }
  return {.size = end + 4};
}

std::string PercentDecoded(absl::string_view part) {
  const auto hex = [&](size_t at) {
    return at < part.size() && absl::ascii_isxdigit(static_cast<unsigned char>(part[at]));
  };
  std::string out;
  for (size_t i = 0; i < part.size(); ++i) {
    if (part[i] == '%' && hex(i + 1) && hex(i + 2)) {
      out += absl::HexStringToBytes(part.substr(i + 1, 2));
      i += 2;
    } else {
      out += part[i];
    }
  }
  return out;
}

std::string WriteResponse(const RestResponse& response, bool keep_alive) {
  std::string head =
      absl::StrCat("HTTP/1.1 ", response.status, " ", HttpPhrase(response.status),
                   "\r\nContent-Type: application/json\r\nContent-Length: ", response.body.size(), "\r\n");
  for (const auto& [name, value] : response.headers) absl::StrAppend(&head, name, ": ", value, "\r\n");
  if (!keep_alive) absl::StrAppend(&head, "Connection: close\r\n");
  return absl::StrCat(head, "\r\n", response.body);
}

RestResponse ErrorResponse(int status, absl::string_view message, absl::string_view param,
                           absl::string_view code) {
  using nlohmann::json;
  const auto text = [](absl::string_view value) { return value.empty() ? json() : json(std::string(value)); };
  const char* const type = status == 429   ? "rate_limit_error"
                           : status >= 500 ? "server_error"
                                           : "invalid_request_error";
  const json body = {
      {"error",
       {{"message", std::string(message)}, {"type", type}, {"param", text(param)}, {"code", text(code)}}}};
  RestResponse response{.status = status};
  // What is no UTF-8 in a quoted name becomes U+FFFD; it must not end the process.
  response.body = body.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
  return response;
}

}  // namespace embedd
