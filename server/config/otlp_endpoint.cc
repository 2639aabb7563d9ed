// SPDX-License-Identifier: Apache-2.0

#include "server/config/otlp_endpoint.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace embedd {

absl::StatusOr<OtlpEndpoint> OtlpEndpoint::Parse(absl::string_view url) {
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", url, "\" ", what, "; give http://HOST:PORT, or off"));
  };
  absl::string_view rest = url;
  if (absl::ConsumePrefix(&rest, "https://")) {
    return wrong("is not supported: run a collector beside the server, and let it speak TLS");
  }
  if (!absl::ConsumePrefix(&rest, "http://")) return wrong("is no URL of a collector");
  OtlpEndpoint endpoint;
  const size_t slash = std::min(rest.find('/'), rest.size());
  absl::string_view authority = rest.substr(0, slash);
  absl::string_view path = rest.substr(slash);
  while (absl::ConsumeSuffix(&path, "/")) continue;
  if (path.find_first_of("?# \r\n") != absl::string_view::npos) return wrong("has more than a path");
  endpoint.path = absl::EndsWith(path, "/v1/traces") ? std::string(path) : absl::StrCat(path, "/v1/traces");
  const size_t colon = authority.rfind(':');
  const size_t bracket = authority.rfind(']');
  if (colon != absl::string_view::npos && (bracket == absl::string_view::npos || colon > bracket)) {
    if (!absl::SimpleAtoi(authority.substr(colon + 1), &endpoint.port) || endpoint.port < 1 ||
        endpoint.port > 65535) {
      return wrong("has no port between 1 and 65535");
    }
    authority = authority.substr(0, colon);
  }
  if (absl::ConsumePrefix(&authority, "[") && !absl::ConsumeSuffix(&authority, "]"))
    return wrong("names no host");
  if (authority.empty() || authority.find_first_of("@ \r\n") != absl::string_view::npos)
    return wrong("names no host");
  endpoint.host = std::string(authority);
  return endpoint;
}

}  // namespace embedd
