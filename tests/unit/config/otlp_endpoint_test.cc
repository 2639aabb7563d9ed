// SPDX-License-Identifier: Apache-2.0

#include "server/config/otlp_endpoint.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The endpoint of a collector: host, port, and the path of traces") {
  struct Case {
    std::string url, host;
    int port;
    std::string path;
  };
  const std::vector<Case> cases = {{"http://127.0.0.1:4318", "127.0.0.1", 4318, "/v1/traces"},
                                   {"http://collector", "collector", 4318, "/v1/traces"},
                                   {"http://collector:80/", "collector", 80, "/v1/traces"},
                                   {"http://[::1]:4318/otlp", "::1", 4318, "/otlp/v1/traces"},
                                   {"http://[fe80::1]", "fe80::1", 4318, "/v1/traces"},
                                   {"http://a:1/x/v1/traces", "a", 1, "/x/v1/traces"}};
  for (const Case& one : cases) {
    INFO(one.url);
    const absl::StatusOr<OtlpEndpoint> parsed = OtlpEndpoint::Parse(one.url);
    REQUIRE(parsed.ok());
    CHECK(parsed->host == one.host);
    CHECK(parsed->port == one.port);
    CHECK(parsed->path == one.path);
  }
}

TEST_CASE("What is no endpoint is refused, and the error says what to give") {
  for (const char* url :
       {"", "127.0.0.1:4318", "grpc://a", "http://", "http://:4318", "http://a:0", "http://a:70000",
        "http://a:x", "http://a:", "http://[::1", "http://a/?x=1", "http://me:secret@a:1", "http://a b"}) {
    INFO(url);
    const absl::Status status = OtlpEndpoint::Parse(url).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), ContainsSubstring("give http://HOST:PORT, or off"));
  }
  CHECK_THAT(std::string(OtlpEndpoint::Parse("https://a").status().message()),
             ContainsSubstring("collector beside"));
}

}  // namespace
}  // namespace embedd
