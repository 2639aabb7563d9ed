// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/target.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace embedd::client::internal {
namespace {

bool IsSocket(absl::string_view name) {
  return absl::StartsWith(name, "unix:") || absl::StartsWith(name, "unix-abstract:") ||
         absl::StartsWith(name, "vsock:");
}

bool IsLiteral(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

bool IsLocal(const std::string& host) {
  const std::string lower = absl::AsciiStrToLower(absl::StripSuffix(host, "."));
  if (lower.empty() || lower == "localhost" || absl::EndsWith(lower, ".localhost")) return true;
  return IsLiteral(host) && (absl::StartsWith(host, "127.") || host == "::1");
}

void SplitHostPort(absl::string_view name, Target* target) {
  if (const auto scheme = name.find("://"); scheme != absl::string_view::npos) {
    name = name.substr(scheme + 3);  // dns://resolver/host:port
    if (const auto slash = name.rfind('/'); slash != absl::string_view::npos) name.remove_prefix(slash + 1);
  }
  for (const char* scheme : {"dns:", "ipv4:", "ipv6:"}) {
    if (absl::ConsumePrefix(&name, scheme)) break;
  }
  absl::string_view host = name, port;
  const auto colon = name.rfind(':');
  if (absl::ConsumePrefix(&name, "[")) {
    const auto end = name.find(']');
    host = name.substr(0, end);
    if (end != absl::string_view::npos && name.substr(end + 1, 1) == ":") port = name.substr(end + 2);
  } else if (colon != absl::string_view::npos && name.find(':') == colon) {
    host = name.substr(0, colon);
    port = name.substr(colon + 1);
  }
  target->host = std::string(host);
  if (!absl::SimpleAtoi(port, &target->port)) target->port = 0;
}

Target Parse(absl::string_view text) {
  Target target;
  target.tls = absl::ConsumePrefix(&text, "grpcs://");
  if (!target.tls) absl::ConsumePrefix(&text, "grpc://");
  target.name = std::string(text);
  if (!IsSocket(text)) SplitHostPort(text, &target);
  target.local = IsLocal(target.host);
  return target;
}

std::string WithoutPassword(std::string url) {
  const auto at = url.rfind('@');
  const auto start = url.find("//");
  if (at != std::string::npos && start != std::string::npos && start < at) {
    url.replace(start + 2, at - start - 2, "...");
  }
  return url;
}

const char* Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

}  // namespace

std::vector<Target> ParseTargets(std::string_view text) {
  std::vector<Target> targets;
  for (auto part : absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    part = absl::StripAsciiWhitespace(part);
    if (part.empty()) continue;
    Target target = Parse(part);
    const bool known = std::any_of(targets.begin(), targets.end(),
                                   [&](const Target& other) { return other.name == target.name; });
    if (!known) targets.push_back(std::move(target));
  }
  return targets;
}

int CountServers(const Target& target) {
  if (target.local || IsLiteral(target.host) || absl::StartsWith(target.name, "xds:")) return 1;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(target.host.c_str(), nullptr, &hints, &found) != 0) return 1;
  std::map<int, int> per_family;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) ++per_family[one->ai_family];
  freeaddrinfo(found);
  int servers = 1;
  for (const auto& [family, count] : per_family) servers = std::max(servers, count);
  return servers;
}

bool Balanced(const Target& target) { return target.servers > 1 || absl::StartsWith(target.name, "dns:"); }

std::string ProxyVariable(const Target& target) {
  if (target.local) return "";
  const char* exceptions = Variable("no_grpc_proxy");
  if (exceptions == nullptr) exceptions = Variable("no_proxy");
  for (auto one : absl::StrSplit(exceptions == nullptr ? "" : exceptions, ',', absl::SkipWhitespace())) {
    if (absl::EndsWith(target.host, absl::StripAsciiWhitespace(one))) return "";
  }
  for (const char* name : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    if (const char* value = Variable(name)) return absl::StrCat(name, "=", WithoutPassword(value));
  }
  return "";
}

}  // namespace embedd::client::internal
