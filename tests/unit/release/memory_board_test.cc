// SPDX-License-Identifier: Apache-2.0

#include "server/release/memory_board.h"

#include <thread>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The board shows the last reading, the baseline, and the highest peak ever") {
  MemoryBoard board;
  CHECK(board.view().highest_peak == 0);
  board.SetBaseline(100);
  board.Publish({.allocated = 100, .peak = 900});
  board.Publish({.allocated = 110, .reserved = 300, .peak = 500, .limit = 2000});
  const MemoryBoard::View view = board.view();
  CHECK(view.now.allocated == 110);
  CHECK(view.now.reserved == 300);
  CHECK(view.now.peak == 500);
  CHECK(view.now.limit == 2000);
  CHECK(view.baseline == 100);
  CHECK(view.highest_peak == 900);
}

TEST_CASE("What is allocated counts for the highest peak where no peak is measured") {
  MemoryBoard board;
  board.Publish({.allocated = 700});
  board.Publish({.allocated = 100});
  CHECK(board.view().highest_peak == 700);
}

TEST_CASE("Readers see whole readings, never halves of two") {
  MemoryBoard board;
  std::thread writer([&] {
    for (int64_t i = 0; i < 2000; ++i) board.Publish({.allocated = i, .reserved = i, .peak = i});
  });
  for (int i = 0; i < 2000; ++i) {
    const MemoryReading now = board.view().now;
    REQUIRE((now.allocated == now.reserved && now.allocated == now.peak));
  }
  writer.join();
}

}  // namespace
}  // namespace embedd
