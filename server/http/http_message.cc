// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_message.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace embedd {
namespace {

const char* ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Internal Server Error";
  }
}

HeadState Broken(int status, const char* text) { return {.problem = {status, text}}; }

// Of the head with its empty line; 0: it has not come yet. A lone LF ends a line too, as RFC 9112 allows.
size_t HeadSize(absl::string_view bytes) {
  for (size_t end = bytes.find('\n'); end != absl::string_view::npos; end = bytes.find('\n', end + 1)) {
    const absl::string_view next = bytes.substr(end + 1);
    if (absl::StartsWith(next, "\n")) return end + 2;
    if (absl::StartsWith(next, "\r\n")) return end + 3;
  }
  return 0;
}

// "HTTP/1.1": RFC 9112's HTTP-version.
bool IsVersion(absl::string_view text) {
  return text.size() == 8 && absl::StartsWith(text, "HTTP/") && absl::ascii_isdigit(text[5]) &&
         text[6] == '.' && absl::ascii_isdigit(text[7]);
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

HeadState ParseHead(absl::string_view bytes, HttpHead* head) {
  *head = HttpHead();
  const size_t size = HeadSize(bytes);
  if ((size == 0 ? bytes.size() : size) > kMaxHead) return Broken(431, "the head of the request is too long");
  if (size == 0) return {};
  bool first = true, has_length = false, lone_lf = false;
  for (absl::string_view line : absl::StrSplit(bytes.substr(0, size), '\n')) {
    lone_lf |= !absl::ConsumeSuffix(&line, "\r");
    if (first) {
      first = false;
      const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
      if (parts.size() != 3 || !IsToken(parts[0]) || !absl::StartsWith(parts[1], "/") || !IsVersion(parts[2]))
        return Broken(400, "the request line is no METHOD /PATH HTTP/1.1");
      if (parts[2][5] != '1') return Broken(505, "use HTTP/1.1");
      head->method = std::string(parts[0]);
      head->path = std::string(parts[1].substr(0, parts[1].find_first_of("?#")));
      head->keep_alive = parts[2][7] != '0';
      continue;
    }
    if (line.empty()) break;
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
      head->body = {411, "send the body with a Content-Length, not in chunks"};
    } else if (absl::EqualsIgnoreCase(name, "content-encoding")) {
      if (!absl::EqualsIgnoreCase(value, "identity"))
        head->body = {415,
                      "send the body as it is, without Content-Encoding: pictures are compressed already"};
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
  // Not every proxy sees a line's end there, and one that does not may take what follows for another head.
  if (lone_lf) head->keep_alive = false;
  return {.size = size};
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

std::string WriteResponse(const HttpResponse& response, bool keep_alive, bool with_body) {
  std::string head = absl::StrCat("HTTP/1.1 ", response.status, " ", ReasonPhrase(response.status),
                                  "\r\nContent-Type: ", response.content_type,
                                  "\r\nContent-Length: ", response.body.size(), "\r\n");
  for (const auto& [name, value] : response.headers) absl::StrAppend(&head, name, ": ", value, "\r\n");
  if (!keep_alive) absl::StrAppend(&head, "Connection: close\r\n");
  return absl::StrCat(head, "\r\n", with_body ? absl::string_view(response.body) : "");
}

}  // namespace embedd
