// SPDX-License-Identifier: Apache-2.0

#include "server/support/word_table.h"

#include <algorithm>
#include <set>

#include "server/release/release_kind.h"
#include "server/telemetry/device_kind.h"
#include "server/telemetry/dtype.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

template <typename Row, size_t kRows>
void CheckBothWays(const Row (&table)[kRows]) {
  std::set<absl::string_view> words;
  for (const Row& row : table) {
    INFO(row.word);
    CHECK(RowIn(table, row.value).word == row.word);
    CHECK(ValueIn(table, row.word) == row.value);
    CHECK(words.insert(row.word).second);
  }
  CHECK_FALSE(ValueIn(table, "").has_value());
  CHECK_FALSE(ValueIn(table, "Always").has_value());
}

TEST_CASE("Every value of a table has one word, which leads back to it, and no other word does") {
  CheckBothWays(kDtypes);
  CheckBothWays(kDeviceKinds);
  CheckBothWays(kReleaseKinds);
}

TEST_CASE("The words of the flags are those of the contract") {
  CHECK(WordsIn(kReleaseKinds) == "never, watermark, idle or always");
  CHECK(WordsIn(kDtypes) == "auto, f32, f16, bf16 or int8");
  CHECK(WordsIn(kDeviceKinds) == "auto, mps, cuda or cpu");
}

}  // namespace
}  // namespace embedd
