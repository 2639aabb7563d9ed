// SPDX-License-Identifier: Apache-2.0
//
// Opens a TCP socket that listens, for HttpServer; gRPC opens its own.

#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace embedd {

struct ListenSocket {
  int fd = -1;  // not blocking, closed on exec; owned by the caller
  int port = 0;
};

// Resolves the host of "HOST:PORT" and binds the first of its addresses that can be bound. AlreadyExists: the
// address is in use. InvalidArgument: no HOST:PORT, no such host, or not an address of this machine.
// PermissionDenied: a port below 1024, mostly.
absl::StatusOr<ListenSocket> OpenListenSocket(const std::string& text);

// Makes `fd` not blocking and closed on exec.
void PrepareSocket(int fd);

}  // namespace embedd
