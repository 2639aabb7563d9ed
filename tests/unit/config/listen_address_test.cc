// SPDX-License-Identifier: Apache-2.0

#include "server/config/listen_address.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Addresses are HOST:PORT, [IPV6]:PORT or unix:PATH") {
  const ListenAddress tcp = ParseListenAddress("example.org:50051").value();
  CHECK(tcp.host == "example.org");
  CHECK(tcp.port == 50051);
  CHECK(ParseListenAddress("[::1]:0").value().host == "::1");
  CHECK(ParseListenAddress("unix:run/e.sock").value().unix_path == "run/e.sock");
  CHECK(ParseListenAddress("unix:///run/e.sock").value().unix_path == "/run/e.sock");
}

TEST_CASE("Only what other machines cannot reach is local") {
  for (const char* local :
       {"127.0.0.1:1", "127.8.9.1:1", "localhost:1", "LOCALHOST:1", "[::1]:1", "unix:x"}) {
    INFO(local);
    CHECK(ParseListenAddress(local).value().IsLocal());
  }
  for (const char* open : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host:1", "[::ffff:10.0.0.1]:1",
                           "127.evil.example:1", "localhost.example:1", "1270.0.0.1:1"}) {
    INFO(open);
    CHECK_FALSE(ParseListenAddress(open).value().IsLocal());
  }
}

TEST_CASE("A malformed address is refused with the form to write") {
  for (const char* text : {"", "host", "host:", ":50051", "host:65536", "host:-1", "host:+1", "host:1x",
                           "::1:50051", "[::1:50051", "ho st:1", "http://host:1", "unix:"}) {
    INFO(text);
    const absl::Status status = ParseListenAddress(text).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(status.message()).find("write ") != std::string::npos);
  }
}

}  // namespace
}  // namespace embedd
