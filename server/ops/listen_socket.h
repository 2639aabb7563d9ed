// SPDX-License-Identifier: Apache-2.0
//
// Opens a TCP socket that listens. Used by HttpServer and RestServer; gRPC opens its own.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/config/listen_address.h"

namespace embedd {

struct ListenSocket {
  int fd = -1;  // not blocking, closed on exec; owned by the caller
  int port = 0;
};

// Resolves the host and binds the first of its addresses that can be bound. AlreadyExists: the address is in
// use. InvalidArgument: no such host, or not an address of this machine. PermissionDenied: a port below 1024,
// mostly.
absl::StatusOr<ListenSocket> OpenListenSocket(const ListenAddress& address);

struct HttpListener {
  ListenSocket socket;
  int wake_read = -1, wake_write = -1;  // a pipe that ends a poll(); prepared, owned by the caller
};

// The same of "HOST:PORT", with a pipe beside it. ResourceExhausted: too many open files.
absl::StatusOr<HttpListener> OpenHttpListener(const std::string& address);

// Makes `fd` not blocking and closed on exec.
void PrepareSocket(int fd);

}  // namespace embedd
