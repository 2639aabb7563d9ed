// SPDX-License-Identifier: Apache-2.0
//
// Why nobody answered, where gRPC does not say it: of several addresses behind a name it reports the last
// one's failure, mostly "Connection refused" at ::1, while at the other address a server speaks TLS and this
// side does not. Asked once, when a call has failed for good; opens plain sockets and blocks for up to a
// second or two.

#pragma once

#include <string>

#include "client/cpp/src/target.h"

namespace embedd::client::internal {

// What is wrong with TLS between this side and a server that listens there; empty when nothing is, or nobody
// does.
std::string DiagnoseTls(const Target& target, bool tls);

}  // namespace embedd::client::internal
