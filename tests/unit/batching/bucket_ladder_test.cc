// SPDX-License-Identifier: Apache-2.0

#include "server/batching/bucket_ladder.h"

#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The rungs double, and the largest batch is always the last one") {
  CHECK(BucketLadder(64).rungs() == std::vector<int>{1, 2, 4, 8, 16, 32, 64});
  CHECK(BucketLadder(48).rungs() == std::vector<int>{1, 2, 4, 8, 16, 32, 48});
  CHECK(BucketLadder(1).rungs() == std::vector<int>{1});
  CHECK(BucketLadder(2).rungs() == std::vector<int>{1, 2});
  CHECK(BucketLadder(3).largest() == 3);
}

TEST_CASE("Up gives the smallest rung that holds n, Down the largest that n fills") {
  const BucketLadder ladder(48);
  for (int n = 1; n <= 48; ++n) {
    int up = 0, down = 0;
    for (const int rung : ladder.rungs()) {
      if (rung <= n) down = rung;
      if (rung >= n && up == 0) up = rung;
    }
    REQUIRE(ladder.Up(n) == up);
    REQUIRE(ladder.Down(n) == down);
  }
}

TEST_CASE("Beyond its ends the ladder gives its ends") {
  const BucketLadder ladder(48);
  CHECK(ladder.Up(1000) == 48);
  CHECK(ladder.Down(1000) == 48);
  CHECK(ladder.Up(-1) == 1);
  CHECK(ladder.Down(0) == 1);
}

TEST_CASE("Next is the rung above, and the last one stays") {
  const BucketLadder ladder(48);
  CHECK(ladder.Next(1) == 2);
  CHECK(ladder.Next(32) == 48);
  CHECK(ladder.Next(48) == 48);
}

}  // namespace
}  // namespace embedd
