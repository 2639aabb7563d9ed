// SPDX-License-Identifier: Apache-2.0
//
// The token file is followed, and left alone while it does not change.

#include "server/rpc/auth.h"

#include <cstdio>
#include <fstream>
#include <string>

#ifdef __linux__
#include <sys/inotify.h>
#include <unistd.h>
#endif

#include "server/support/clock.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

TEST_CASE("Tokens are those of the file, a second after it changed at the latest") {
  const TempFolder folder;
  const std::string path = folder.path() + "/tokens";
  Write(path, "first\n");
  SimulatedClock clock;
  auto check = TokenCheck::Create(path, &clock);
  REQUIRE(check.ok());
  CHECK((*check)->AllowsHeader("Bearer first"));
  CHECK_FALSE((*check)->AllowsHeader("Bearer second"));
  Write(path, "first\nsecond\n");
  clock.AdvanceTime(absl::Seconds(1));
  CHECK((*check)->AllowsHeader("Bearer second"));

  SECTION("also when another file takes its place, of the same size") {
    Write(path + ".new", "third\nsecond\n");
    REQUIRE(std::rename((path + ".new").c_str(), path.c_str()) == 0);
    clock.AdvanceTime(absl::Seconds(1));
    CHECK((*check)->AllowsHeader("Bearer third"));
    CHECK_FALSE((*check)->AllowsHeader("Bearer first"));
  }
  SECTION("and a file that is gone takes nobody's token") {
    REQUIRE(std::remove(path.c_str()) == 0);
    clock.AdvanceTime(absl::Seconds(1));
    CHECK((*check)->AllowsHeader("Bearer second"));
  }
}

#ifdef __linux__
TEST_CASE("A token file that does not change is not read again") {
  const TempFolder folder;
  const std::string path = folder.path() + "/tokens";
  Write(path, "token\n");
  SimulatedClock clock;
  auto check = TokenCheck::Create(path, &clock);
  REQUIRE(check.ok());
  const auto ask = [&] {
    clock.AdvanceTime(absl::Seconds(1));
    REQUIRE((*check)->AllowsHeader("Bearer token"));
  };
  ask();  // once more after a change, and the start is one
  const int watch = inotify_init1(IN_NONBLOCK);
  REQUIRE(inotify_add_watch(watch, path.c_str(), IN_OPEN) >= 0);
  for (int second = 0; second < 5; ++second) ask();
  char events[4096];
  CHECK(read(watch, events, sizeof(events)) < 0);
  close(watch);
}
#endif

}  // namespace
}  // namespace embedd
