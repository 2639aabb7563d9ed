// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/status_feed.h"

#include <random>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

// A watcher on a wire that takes one write at a time.
struct Watcher {
  StatusFeed<int> feed;
  std::vector<int> written;
  bool writing = false, finished = false;

  void Write(std::optional<int> status) {
    if (!status.has_value()) return;
    REQUIRE_FALSE(writing);
    REQUIRE_FALSE(finished);
    if (!written.empty()) REQUIRE(written.back() != *status);  // every message is a change
    written.push_back(*status);
    writing = true;
  }
  void Change(int status) { Write(feed.Change(status)); }
  void WriteEnds() {
    writing = false;
    Write(feed.Written());
  }
  void Leave() {
    if (feed.End()) finished = true;
  }
};

TEST_CASE("A status that comes back while another waits to be written takes that one away") {
  Watcher watcher;
  watcher.Change(1);  // being written
  watcher.Change(2);  // waits
  watcher.Change(1);
  watcher.WriteEnds();
  CHECK(watcher.written == std::vector<int>{1});
}

TEST_CASE(
    "Through 10,000 random changes a watcher never ends stale, gets one write at a time and none after its "
    "end") {
  std::mt19937 random(1);
  int changes = 0;
  while (changes < 10'000) {
    Watcher watcher;
    int now = 0;
    watcher.Change(now);
    const int events = static_cast<int>(random() % 40);
    for (int i = 0; i < events; ++i) {
      if (watcher.writing && random() % 3 == 0) {
        watcher.WriteEnds();
      } else {
        now = static_cast<int>(random() % 3);
        watcher.Change(now);
        ++changes;
      }
    }
    if (random() % 4 == 0) {
      watcher.Leave();
      const size_t written = watcher.written.size();
      watcher.Change(now + 1);
      if (watcher.writing) watcher.WriteEnds();
      REQUIRE(watcher.written.size() == written);
      REQUIRE(watcher.finished);
      watcher.Leave();  // OnCancel and a failed write may both come
      continue;
    }
    while (watcher.writing) watcher.WriteEnds();
    REQUIRE(watcher.written.back() == now);
  }
}

}  // namespace
}  // namespace embedd
