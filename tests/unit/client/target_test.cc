// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/target.h"

#include <stdlib.h>

#include "tests/support/catch.h"

namespace embedd::client::internal {
namespace {

std::vector<std::string> Names(const std::string& text) {
  std::vector<std::string> names;
  for (const auto& target : ParseTargets(text)) names.push_back(target.name);
  return names;
}

TEST_CASE("Several targets are divided by commas; blanks and repetitions are dropped") {
  CHECK(Names("a:1") == std::vector<std::string>{"a:1"});
  CHECK(Names(" a:1, b:2 ,a:1,") == std::vector<std::string>{"a:1", "b:2"});
  CHECK(Names("ipv4:10.0.0.1:1,10.0.0.2:1,unix:/run/x") ==
        std::vector<std::string>{"ipv4:10.0.0.1:1", "10.0.0.2:1", "unix:/run/x"});
  CHECK(Names("").empty());
  CHECK(Names(" , ").empty());
}

TEST_CASE("grpc:// and grpcs:// say whether TLS is used") {
  const auto targets = ParseTargets("grpc://a:1,grpcs://b:2,c:3");
  REQUIRE(targets.size() == 3);
  CHECK(targets[0].name == "a:1");
  CHECK_FALSE(targets[0].tls);
  CHECK(targets[1].name == "b:2");
  CHECK(targets[1].tls);
  CHECK_FALSE(targets[2].tls);
}

TEST_CASE("Host, port and place are read out of every form") {
  struct Case {
    const char* text;
    const char* host;
    int port;
    bool local;
  };
  for (const Case& one :
       {Case{"localhost:50051", "localhost", 50051, true}, Case{"127.0.0.9:1", "127.0.0.9", 1, true},
        Case{"ipv4:127.0.0.1:1", "127.0.0.1", 1, true}, Case{"ipv6:[::1]:1", "::1", 1, true},
        Case{"[::1]:7", "::1", 7, true}, Case{"dns:///localhost:5", "localhost", 5, true},
        Case{"dns://8.8.8.8/gpu-host:5", "gpu-host", 5, false}, Case{"dns:gpu-host:5", "gpu-host", 5, false},
        Case{"unix:/run/embedd.sock", "", 0, true}, Case{"unix:///run/embedd.sock", "", 0, true},
        Case{"gpu-host:50051", "gpu-host", 50051, false},
        Case{"127.gpu.example:50051", "127.gpu.example", 50051, false}}) {
    const auto targets = ParseTargets(one.text);
    REQUIRE(targets.size() == 1);
    INFO(one.text);
    CHECK(targets[0].host == one.host);
    CHECK(targets[0].port == one.port);
    CHECK(targets[0].local == one.local);
  }
}

TEST_CASE("Only names with several servers behind them are left to gRPC to balance") {
  auto target = ParseTargets("gpu:1")[0];
  CHECK_FALSE(Balanced(target));
  target.servers = 2;
  CHECK(Balanced(target));
  CHECK(Balanced(ParseTargets("dns:///gpu:1")[0]));
  CHECK(CountServers(ParseTargets("localhost:1")[0]) == 1);
  CHECK(CountServers(ParseTargets("192.0.2.1:1")[0]) == 1);
}

TEST_CASE("A proxy is named by its variable, without its password, and never for this machine") {
  for (const char* name : {"grpc_proxy", "http_proxy", "no_proxy", "no_grpc_proxy"}) unsetenv(name);
  setenv("https_proxy", "http://user:secret@proxy:3128", 1);
  const auto remote = ParseTargets("gpu.example:1")[0];
  CHECK(ProxyVariable(remote) == "https_proxy=http://...@proxy:3128");
  CHECK(ProxyVariable(ParseTargets("localhost:1")[0]).empty());
  CHECK(ProxyVariable(ParseTargets("unix:/x")[0]).empty());
  setenv("no_proxy", "other, .example", 1);
  CHECK(ProxyVariable(remote).empty());
  unsetenv("no_proxy");
  unsetenv("https_proxy");
  CHECK(ProxyVariable(remote).empty());
}

}  // namespace
}  // namespace embedd::client::internal
