// SPDX-License-Identifier: Apache-2.0

#include "server/http/listen_socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/config/listen_address.h"

namespace embedd {
namespace {

int PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

absl::Status BindError(const ListenAddress& address, int error) {
  const std::string message =
      absl::StrCat("cannot listen on ", address.host, ":", address.port, ": ", std::strerror(error));
  if (error == EADDRINUSE) return absl::AlreadyExistsError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  if (error == EADDRNOTAVAIL) return absl::InvalidArgumentError(message);
  return absl::UnavailableError(message);
}

// The bound and listening socket, or -1 and errno.
int BindOne(const addrinfo& candidate) {
  const int fd = socket(candidate.ai_family, candidate.ai_socktype, candidate.ai_protocol);
  if (fd < 0) return -1;
  // Only REUSEADDR: with REUSEPORT two servers could share one port and each see half of the calls.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, candidate.ai_addr, candidate.ai_addrlen) == 0 && listen(fd, 64) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

void PrepareSocket(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
}

absl::StatusOr<ListenSocket> OpenListenSocket(const std::string& text) {
  const absl::StatusOr<ListenAddress> parsed = ParseListenAddress(text);
  if (!parsed.ok()) return parsed.status();
  const ListenAddress& address = *parsed;
  if (!address.unix_path.empty())
    return absl::InvalidArgumentError("HTTP needs HOST:PORT, not a Unix socket");
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (failed != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot listen on ", address.host, ":", address.port, ": ", gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  int error = EADDRNOTAVAIL;
  for (const addrinfo* candidate = found; candidate != nullptr; candidate = candidate->ai_next) {
    const int fd = BindOne(*candidate);
    if (fd < 0) {
      error = errno;
      continue;
    }
    PrepareSocket(fd);
    sockaddr_storage bound = {};
    socklen_t size = sizeof(bound);
    getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
    return ListenSocket{fd, PortOf(bound)};
  }
  return BindError(address, error);
}

}  // namespace embedd
