// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/reason.h"

#include <set>
#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Every reason has a word of its own, which leads back to it, and a sentence") {
  std::set<std::string> words;
  for (const ReasonRow& row : AllReasons()) {
    INFO(row.word);
    CHECK(words.insert(std::string(row.word)).second);
    CHECK(ReasonOfWord(row.word) == row.reason);
    CHECK(&RowOf(row.reason) == &row);
    CHECK(!row.meaning.empty());
    CHECK(row.code != absl::StatusCode::kOk);
  }
  CHECK(ReasonOfWord("NO_SUCH_WORD") == Reason::kNone);
  CHECK(ReasonWord(Reason::kNone).empty());
}

TEST_CASE("What the contract says of a reason is in its row") {
  CHECK(RowOf(Reason::kQueueFull).code == absl::StatusCode::kResourceExhausted);
  CHECK(RowOf(Reason::kQueueFull).fails_call);
  CHECK(RowOf(Reason::kDeviceMemory).code == absl::StatusCode::kResourceExhausted);
  CHECK_FALSE(RowOf(Reason::kDeviceMemory).fails_call);
  CHECK_FALSE(RowOf(Reason::kBadOutput).fails_call);
  CHECK(RowOf(Reason::kTextNotSupported).code == absl::StatusCode::kUnimplemented);
  CHECK(ReasonError(Reason::kDraining, "x") == absl::UnavailableError("x"));
}

}  // namespace
}  // namespace embedd
