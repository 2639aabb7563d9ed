// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/server_state.h"

#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("A server starts LOADING and serves when READY or OFFLOADED only") {
  StateBoard board;
  CHECK(board.state() == ServerState::kLoading);
  CHECK_FALSE(board.serving());
  board.Set(ServerState::kReady);
  CHECK(board.serving());
  board.Set(ServerState::kOffloaded);
  CHECK(board.serving());
  board.Set(ServerState::kDraining);
  CHECK_FALSE(board.serving());
}

TEST_CASE("Nothing undoes DRAINING but FAILED, and nothing undoes FAILED") {
  StateBoard board;
  board.Set(ServerState::kDraining);
  board.Set(ServerState::kReady);
  board.Set(ServerState::kLoading);
  CHECK(board.state() == ServerState::kDraining);
  board.Set(ServerState::kFailed);
  CHECK(board.state() == ServerState::kFailed);
  board.Set(ServerState::kDraining);
  board.Set(ServerState::kReady);
  CHECK(board.state() == ServerState::kFailed);
}

TEST_CASE("A listener hears the state now, and after each change") {
  StateBoard board;
  std::vector<std::string> heard;
  board.Subscribe([&](ServerState state, bool serving) {
    heard.push_back(std::string(StateName(state)) + (serving ? "+" : "-"));
  });
  board.Set(ServerState::kReady);
  board.StopAdvertising();
  board.Set(ServerState::kDraining);
  board.Set(ServerState::kReady);  // refused
  CHECK(heard == std::vector<std::string>{"LOADING-", "READY+", "READY-", "DRAINING-"});
}

TEST_CASE("Listeners are told one change at a time, and the last thing they hear is the state that stays") {
  for (int round = 0; round < 50; ++round) {
    StateBoard board;
    std::vector<ServerState> heard;
    board.Subscribe([&](ServerState state, bool) { heard.push_back(state); });
    std::thread a([&] { board.Set(ServerState::kReady); });
    std::thread b([&] { board.Set(ServerState::kDraining); });
    a.join();
    b.join();
    REQUIRE(board.state() == ServerState::kDraining);
    REQUIRE(heard.back() == ServerState::kDraining);
  }
}

TEST_CASE("Who is not serving says why, and not more than it knows") {
  StateBoard board;
  CHECK(board.why() == "the model is loading");
  board.Set(ServerState::kReady);
  CHECK(board.why().empty());
  board.StopAdvertising();  // READY, not serving, and nothing hangs
  CHECK(board.why() == "the server is about to shut down; calls are still answered");
  board.Set(ServerState::kDraining);
  CHECK(board.why() == "the server is shutting down");
  board.Set(ServerState::kFailed, "the counters are garbage");
  CHECK(board.why() == "the counters are garbage");
}

TEST_CASE("Each state has the name that users see") {
  CHECK(StateName(ServerState::kLoading) == "LOADING");
  CHECK(StateName(ServerState::kReady) == "READY");
  CHECK(StateName(ServerState::kOffloaded) == "OFFLOADED");
  CHECK(StateName(ServerState::kDraining) == "DRAINING");
  CHECK(StateName(ServerState::kFailed) == "FAILED");
}

}  // namespace
}  // namespace embedd
