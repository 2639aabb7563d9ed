// SPDX-License-Identifier: Apache-2.0
//
// A program that uses the C++ client and nothing else of embedd. Nobody listens on the port it asks.

#include <iostream>

#include "embedd/client.h"

int main() {
  const auto client =
      embedd::client::Client::Create({.target = "127.0.0.1:1", .retry_for = absl::ZeroDuration()});
  if (!client.ok()) return 1;
  const auto info = (*client)->GetServerInfo();
  std::cout << info.status() << "\n";
  return info.ok() ? 1 : 0;
}
