// SPDX-License-Identifier: Apache-2.0

#include "server/config/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace embedd {

bool ListenAddress::IsLocal() const {
  if (!unix_path.empty() || absl::EqualsIgnoreCase(host, "localhost")) return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text) {
  const auto invalid = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" ", why, "; write HOST:PORT, for example 127.0.0.1:50051"));
  };
  ListenAddress address;
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    if (absl::StartsWith(rest, "//")) rest.remove_prefix(2);  // unix:///absolute/path
    if (rest.empty())
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" has no path; write unix:PATH"));
    address.unix_path = std::string(rest);
    return address;
  }
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos) return invalid("has no port");
  absl::string_view host = rest.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) return invalid("has an opening bracket without a closing one");
  } else if (absl::StrContains(host, ":")) {
    return invalid("is an IPv6 address without brackets, as in [::1]:50051");
  }
  if (host.empty()) return invalid("has no host");
  for (const char c : host) {
    if (c == '/' || static_cast<unsigned char>(c) <= ' ') return invalid("is not an address");
  }
  int port = 0;
  const absl::string_view digits = rest.substr(colon + 1);
  if (digits.find_first_not_of("0123456789") != absl::string_view::npos || !absl::SimpleAtoi(digits, &port) ||
      port > 65535) {
    return invalid("has no port between 0 and 65535");
  }
  address.host = std::string(host);
  address.port = port;
  return address;
}

}  // namespace embedd
