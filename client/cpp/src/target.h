// SPDX-License-Identifier: Apache-2.0
//
// Where the servers are: what users write for a target, taken apart. Opens no connection.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace embedd::client::internal {

struct Target {
  std::string name;    // as gRPC takes it and messages show it
  bool tls = false;    // it was written grpcs://
  std::string host;    // a name or a literal address; empty for a socket
  int port = 0;        // 0: none is known
  bool local = false;  // on this machine for sure: no proxy can be on the way
  int servers = 1;     // behind the name, as far as that is known
};

// Several are divided by commas; each is HOST:PORT, unix:/path, any gRPC name, or one of those after grpc://
// or grpcs://. Blanks and repetitions are dropped.
std::vector<Target> ParseTargets(std::string_view text);

// Asks the system's resolver how many servers are behind a host name; of a host with addresses of both
// families each counts once. 1 where there is nothing to ask, or no answer.
int CountServers(const Target& target);

// Whether gRPC is to spread calls over the addresses of the name.
bool Balanced(const Target& target);

// The variable that sends this connection through a proxy, as NAME=VALUE without its password; empty when
// none does.
std::string ProxyVariable(const Target& target);

}  // namespace embedd::client::internal
