// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/batch_ledger.h"

#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The ledger keeps the last 1,024 records, oldest first") {
  BatchLedger ledger;
  CHECK(ledger.Last().empty());
  for (uint64_t id = 1; id <= 1500; ++id) ledger.Add({.id = id});
  const std::vector<BatchRecord> all = ledger.Last();
  REQUIRE(all.size() == 1024);
  CHECK(all.front().id == 477);
  CHECK(all.back().id == 1500);
  const std::vector<BatchRecord> two = ledger.Last(2);
  REQUIRE(two.size() == 2);
  CHECK(two[0].id == 1499);
  CHECK(ledger.Last(0).empty());
}

TEST_CASE("A record in JSON has every key of the contract, in bytes and nanoseconds") {
  const BatchRecord record{.id = 7,
                           .size = 3,
                           .bucket = 4,
                           .requests = 2,
                           .bytes = {.before = 100, .peak = 250, .after = 110},
                           .decode = absl::Microseconds(1),
                           .queue = absl::Milliseconds(2),
                           .execute = absl::Seconds(3),
                           .outcome = "oom_split",
                           .device = "cpu",
                           .trace_ids = {"0a", "0b"}};
  CHECK(ToJson({record}) ==
        "[\n {\"id\": 7, \"size\": 3, \"bucket\": 4, \"requests\": 2, \"tower\": \"image\", \"device\": "
        "\"cpu\", \"before\": 100, "
        "\"peak\": 250, "
        "\"after\": 110, "
        "\"released\": 140, \"unreleased\": 10, \"outcome\": \"oom_split\", \"decode_ns\": 1000, "
        "\"queue_ns\": 2000000, "
        "\"execute_ns\": 3000000000, \"trace_ids\": [\"0a\", \"0b\"]}\n]\n");
  CHECK(ToJson({}) == "[]\n");
  CHECK(ToJson({record, record}).find("},\n {") != std::string::npos);
}

TEST_CASE("One thread may add while others read") {
  BatchLedger ledger;
  std::thread writer([&] {
    for (uint64_t id = 1; id <= 2000; ++id) ledger.Add({.id = id});
  });
  for (int i = 0; i < 50; ++i) {
    const std::vector<BatchRecord> seen = ledger.Last(10);
    for (size_t k = 1; k < seen.size(); ++k) REQUIRE(seen[k].id == seen[k - 1].id + 1);
  }
  writer.join();
  CHECK(ledger.Last(1)[0].id == 2000);
}

}  // namespace
}  // namespace embedd
