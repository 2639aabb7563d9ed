// SPDX-License-Identifier: Apache-2.0
//
// Addresses to listen on: HOST:PORT, [IPV6]:PORT or unix:PATH. Used by the flags and by whoever binds.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

struct ListenAddress {
  std::string host;       // without brackets; empty for a Unix socket
  int port = 0;           // 0 = any
  std::string unix_path;  // empty for TCP

  // True when only this machine can reach it: 127.0.0.0/8, ::1, localhost, or a Unix socket.
  bool IsLocal() const;
};

// InvalidArgument says what is wrong with the text and how to write it.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

}  // namespace embedd
