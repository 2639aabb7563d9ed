// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/replicas.h"

#include <algorithm>
#include <array>
#include <queue>

#include "tests/support/catch.h"

namespace embedd::client::internal {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);
const Load kOne{.inputs = 1};

Failure Away() { return {.status = absl::UnavailableError("gone")}; }
Failure Full(absl::Duration pushback) {
  return {.status = FailureWithReason(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", "full"),
          .pushback = pushback};
}

TEST_CASE("A replica that takes five times as long gets a fifth of the work") {
  Replicas replicas({1, 1});
  const std::array<absl::Duration, 2> each{absl::Seconds(1), absl::Seconds(5)};
  std::array<absl::Time, 2> free{kNow, kNow};
  std::array<int, 2> count{};
  using Answer = std::pair<absl::Time, size_t>;
  std::priority_queue<Answer, std::vector<Answer>, std::greater<>> under_way;
  const Load load{.inputs = 10};
  absl::Time now = kNow;
  for (int i = 0; i < 400; ++i) {
    while (under_way.size() < 8) {
      const size_t replica = *replicas.Begin(load, now);
      free[replica] = std::max(free[replica], now) + each[replica];
      under_way.emplace(free[replica], replica);
    }
    const auto [end, replica] = under_way.top();
    under_way.pop();
    now = end;
    replicas.Answered(replica, load, now, now);
    ++count[replica];
  }
  const double ratio = static_cast<double>(count[0]) / count[1];
  CHECK(ratio > 4);
  CHECK(ratio < 6);
}

TEST_CASE(
    "With requests to spare a slow replica has its next at hand; one that somebody waits for goes to the "
    "quick") {
  const Load load{.inputs = 64};
  const auto with_known_rates = [&](Replicas& replicas) {
    replicas.BeginAt(0, load, kNow);
    replicas.Answered(0, load, kNow, kNow + absl::Milliseconds(80));
    replicas.BeginAt(1, load, kNow);
    replicas.Answered(1, load, kNow, kNow + absl::Milliseconds(800));
  };
  const absl::Time now = kNow + absl::Milliseconds(800);
  Replicas busy({1, 1});
  with_known_rates(busy);
  for (int i = 0; i < 6; ++i) busy.BeginAt(0, load, now);
  for (int i = 0; i < 2; ++i) CHECK(*busy.Begin(load, now) == 1);
  Replicas idle({1, 1});
  with_known_rates(idle);
  for (int i = 0; i < 3; ++i) CHECK(*idle.Begin(kOne, now) == 0);
}

TEST_CASE("A replica that owes an answer is avoided more the longer it does") {
  Replicas replicas({1, 1});
  const Load load{.inputs = 10};
  for (size_t i = 0; i < 2; ++i) {
    replicas.BeginAt(i, load, kNow);
    replicas.Answered(i, load, kNow, kNow + absl::Seconds(1));
  }
  replicas.BeginAt(1, load, kNow + absl::Seconds(1));
  for (int i = 0; i < 8; ++i) CHECK(*replicas.Begin(kOne, kNow + absl::Seconds(31)) == 0);
}

TEST_CASE("A refusal holds for that replica alone, as long as it asked") {
  Replicas replicas({1, 1});
  replicas.BeginAt(0, kOne, kNow);
  CHECK(*replicas.Failed(0, kOne, Full(absl::Seconds(2)), kNow, 0.5) == absl::ZeroDuration());
  const absl::Time later = kNow + absl::Seconds(1.9);
  CHECK(*replicas.Begin(kOne, later) == 1);
  CHECK(*replicas.Failed(1, kOne, Full(absl::Seconds(5)), later, 0.5) == absl::Milliseconds(100));
  CHECK(*replicas.Begin(kOne, kNow + absl::Seconds(2.1)) == 0);
}

TEST_CASE("Alone there is nowhere else to go") {
  Replicas replicas({1});
  replicas.BeginAt(0, kOne, kNow);
  CHECK_FALSE(replicas.Failed(0, kOne, Away(), kNow, 0.5));
  CHECK(*replicas.Begin(kOne, kNow) == 0);
}

TEST_CASE("Behind one name the next address is asked at once, and one lost is no outage") {
  Replicas replicas({3});
  CHECK(replicas.servers() == 3);
  int told = 0;
  std::vector<bool> at_once;
  for (int i = 0; i < 4; ++i) {
    replicas.BeginAt(0, kOne, kNow);
    at_once.push_back(replicas.Failed(0, kOne, Away(), kNow, 0.5).has_value());
    told += replicas.TellOutage(0);
  }
  CHECK(at_once == std::vector<bool>{true, true, false, false});
  CHECK(told == 1);
}

TEST_CASE("An outage is told once, and its end by an answer to what was sent after it") {
  Replicas replicas({1, 1});
  for (int i = 0; i < 8; ++i) replicas.BeginAt(0, kOne, kNow);
  const absl::Time lost = kNow + absl::Seconds(1);
  int told = 0;
  for (int i = 0; i < 7; ++i) {
    replicas.Failed(0, kOne, Away(), lost, 0.5);
    told += replicas.TellOutage(0);
  }
  CHECK(told == 1);
  CHECK_FALSE(replicas.Answered(0, kOne, kNow, lost));
  CHECK_FALSE(replicas.Known(0));
  replicas.BeginAt(0, kOne, lost + absl::Seconds(1));
  CHECK(replicas.Answered(0, kOne, lost + absl::Seconds(1), lost + absl::Seconds(2)));
  CHECK_FALSE(replicas.Answered(0, kOne, lost + absl::Seconds(2), lost + absl::Seconds(3)));
}

TEST_CASE("One request finds out whether a replica is back") {
  Replicas replicas({1, 1});
  replicas.BeginAt(0, kOne, kNow);
  replicas.Failed(0, kOne, Away(), kNow, 0.5);
  const absl::Time later = kNow + absl::Minutes(1);
  replicas.BeginAt(0, kOne, later);
  for (int i = 0; i < 5; ++i) CHECK(*replicas.Begin(kOne, later) == 1);
}

TEST_CASE("Health is asked once a second of those in use; who does not serve gets nothing, and is asked on") {
  using Indexes = std::vector<size_t>;
  Replicas replicas({1, 1, 1});
  CHECK(replicas.HealthDue(kNow).empty());
  for (size_t i = 0; i < 2; ++i) replicas.BeginAt(i, kOne, kNow);
  CHECK(replicas.HealthDue(kNow) == Indexes{0, 1});
  CHECK(replicas.HealthDue(kNow + absl::Milliseconds(999)).empty());
  replicas.HealthTold(0, true);
  replicas.HealthTold(1, false);
  for (size_t i = 0; i < 2; ++i) replicas.Answered(i, kOne, kNow, kNow);
  for (int i = 0; i < 6; ++i) CHECK(*replicas.Begin(kOne, kNow) != 1);
  const absl::Time later = kNow + absl::Seconds(1);
  CHECK(replicas.HealthDue(later) == Indexes{0, 1, 2});
  replicas.HealthTold(1, true);
  for (size_t i = 0; i < 6; ++i) replicas.BeginAt(i % 2 * 2, kOne, later);
  CHECK(*replicas.Begin(kOne, later) == 1);
}

TEST_CASE(
    "Health is not asked of one server, nor where it is not offered; where nobody serves one is asked") {
  Replicas alone({1});
  alone.BeginAt(0, kOne, kNow);
  CHECK(alone.HealthDue(kNow).empty());
  Replicas replicas({1, 1});
  for (size_t i = 0; i < 2; ++i) replicas.BeginAt(i, kOne, kNow);
  replicas.HealthTold(0, false);
  replicas.NoHealth(0);
  replicas.HealthTold(0, false);  // an answer that was under way
  CHECK(replicas.HealthDue(kNow) == std::vector<size_t>{1});
  replicas.HealthTold(1, false);
  for (int i = 0; i < 4; ++i) CHECK(*replicas.Begin(kOne, kNow) == 0);
  Replicas gone({1, 1});
  for (size_t i = 0; i < 2; ++i) gone.HealthTold(i, false);
  CHECK(gone.Begin(kOne, kNow).has_value());
}

TEST_CASE("Calls are planned by what all take; a request goes to a replica that takes it") {
  Replicas replicas({1, 1, 1});
  CHECK_FALSE(replicas.Shared());
  replicas.Learn(0, {.max_message_bytes = 1000, .max_inputs_per_request = 10, .max_image_bytes = 100});
  replicas.Learn(1, {.max_message_bytes = 5000, .max_inputs_per_request = 5, .max_image_bytes = 900});
  const auto shared = *replicas.Shared();
  CHECK(shared.max_message_bytes == 1000);
  CHECK(shared.max_inputs_per_request == 5);
  CHECK(shared.max_image_bytes == 900);
  replicas.Learn(2, {.max_inputs_per_request = 1});
  for (int i = 0; i < 6; ++i)
    CHECK(*replicas.Begin({.inputs = 2, .bytes = 500, .largest_file = 500}, kNow) == 1);
  CHECK_FALSE(replicas.Begin({.inputs = 2, .bytes = 6000}, kNow));
}

}  // namespace
}  // namespace embedd::client::internal
