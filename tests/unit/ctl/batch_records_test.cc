// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/batch_records.h"

#include "tests/support/catch.h"

namespace embedd::ctl {
namespace {

constexpr char kRecord[] =
    R"({"id":7,"size":3,"bucket":4,"requests":2,"before":1024,"peak":3072,"after":1024,)"
    R"("released":0,"outcome":"ok","decode_ns":1000000,"queue_ns":2,"execute_ns":3})";

TEST_CASE("A list, and an object that holds one, are read and sorted by id") {
  const std::string record = kRecord;
  for (const auto& body :
       {"[" + record + R"(,{"id":2}])", R"({"x":1,"batches":[)" + record + R"(,{"id":2}]})"}) {
    const auto records = ParseBatchRecords(body);
    REQUIRE(records.ok());
    REQUIRE(records->size() == 2);
    CHECK((*records)[0].id == 2);
    CHECK((*records)[1].peak == 3072);
    CHECK((*records)[1].outcome == "ok");
  }
}

TEST_CASE("Cells show what a batch took and what it kept") {
  const auto records = ParseBatchRecords("[" + std::string(kRecord) + "]");
  const auto cells = Cells(records->front());
  REQUIRE(cells.size() == BatchHeader().size());
  CHECK(cells == std::vector<std::string>{"7", "3", "4", "2", "ok", "1.00 ms", "0.000 ms", "0.000 ms",
                                          "1.00 KiB", "2.00 KiB", "0 B", "0 B"});
}

TEST_CASE("Anything else is an error, whatever the bytes") {
  for (const char* body : {"", "[", "7", "\"x\"", "{}", "<html>", "{\"a\":{}}"}) {
    CHECK(absl::IsInternal(ParseBatchRecords(body).status()));
  }
  const auto odd = ParseBatchRecords(R"([1,null,{"id":"x","size":[],"outcome":3}])");
  REQUIRE(odd.ok());
  CHECK(odd->size() == 1);
}

}  // namespace
}  // namespace embedd::ctl
