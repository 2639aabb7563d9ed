// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer_place.h"

#include <utility>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("A connection that reads nothing holds its share of the answers' bytes, and others have theirs") {
  PlaceBudget budget({.images = 10, .bytes = 1000});
  AnswerLedger ledger(250);
  std::vector<AnswerPlace> unread;
  for (int call = 0; call < 2; ++call) {
    absl::StatusOr<AnswerPlace> answer = ledger.Reserve(/*flow=*/1, 100);
    REQUIRE(answer.ok());
    answer->Hold(*budget.Reserve(0, 100));
    unread.push_back(*std::move(answer));
  }
  const absl::Status refused = ledger.Reserve(1, 100).status();
  CHECK(absl::IsResourceExhausted(refused));
  CHECK_THAT(std::string(refused.message()),
             ContainsSubstring("200 bytes") && ContainsSubstring("250") && ContainsSubstring("read them"));
  CHECK(ledger.bytes() == 200);
  CHECK(budget.usage().bytes == 200);
  CHECK(ledger.Reserve(1, 50).ok());
  CHECK(ledger.Reserve(2, 250).ok());
  CHECK(ledger.Reserve(1, 0).ok());

  unread.pop_back();
  CHECK(ledger.bytes() == 100);
  CHECK(budget.usage().bytes == 100);
  CHECK(ledger.Reserve(1, 100).ok());
  unread.clear();
  CHECK(ledger.bytes() == 0);
  CHECK(budget.usage().bytes == 0);
}

TEST_CASE("A connection that holds no answer may have one of any size") {
  AnswerLedger ledger(250);
  CHECK(ledger.Reserve(1, 10'000).ok());
}

TEST_CASE("A place that is moved onto another one gives back what that one held") {
  PlaceBudget budget({.images = 10, .bytes = 1000});
  AnswerLedger ledger(120);
  AnswerPlace one = *ledger.Reserve(1, 100), two = *ledger.Reserve(1, 20);
  one.Hold(*budget.Reserve(0, 100));
  two.Hold(*budget.Reserve(0, 20));
  one = std::move(two);
  CHECK(ledger.bytes() == 20);
  CHECK(budget.usage().bytes == 20);
  CHECK(ledger.Reserve(1, 100).ok());
  one.Release();
  one.Release();
  CHECK(ledger.bytes() == 0);
}

}  // namespace
}  // namespace embedd
