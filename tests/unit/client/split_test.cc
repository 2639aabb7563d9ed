// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/split.h"

#include <numeric>
#include <random>

#include "tests/support/catch.h"

namespace embedd::client::internal {
namespace {

std::vector<size_t> Counts(const std::vector<Part>& parts) {
  std::vector<size_t> counts;
  for (const auto& part : parts) counts.push_back(part.count);
  return counts;
}

TEST_CASE("A call that fits one request stays one request") {
  const std::vector<size_t> bytes(8, 100);
  const auto parts = Split(bytes, {.max_bytes = 100'000, .max_inputs = 8});
  REQUIRE(Counts(parts) == std::vector<size_t>{8});
}

TEST_CASE("A call is cut where the next image would pass the bytes or the images of a request") {
  const std::vector<size_t> bytes(7, 100 - kInputOverhead);
  CHECK(Counts(Split(bytes, {.max_bytes = 1000, .max_inputs = 3})) == std::vector<size_t>{3, 3, 1});
  CHECK(Counts(Split(bytes, {.max_bytes = 300, .max_inputs = 64})) == std::vector<size_t>{3, 3, 1});
  CHECK(Counts(Split(bytes, {.max_bytes = 299, .max_inputs = 64})) == std::vector<size_t>{2, 2, 2, 1});
}

TEST_CASE("An image larger than a request travels alone, and its neighbours do not join it") {
  const std::vector<size_t> bytes{10, 5000, 10, 10};
  CHECK(Counts(Split(bytes, {.max_bytes = 1000, .max_inputs = 64})) == std::vector<size_t>{1, 1, 2});
  CHECK(Counts(Split(bytes, {.max_bytes = 1, .max_inputs = 64})) == std::vector<size_t>{1, 1, 1, 1});
}

TEST_CASE("No input, no request") { CHECK(Split({}, {.max_bytes = 1, .max_inputs = 1}).empty()); }

TEST_CASE("Parts cover every input once, in order, within the limits, for any sizes") {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<size_t> bytes(random() % 200);
    for (auto& b : bytes) b = random() % 3000;
    const SplitLimits limits{.max_bytes = 1 + random() % 5000, .max_inputs = 1 + random() % 70};
    size_t next = 0;
    for (const auto& part : Split(bytes, limits)) {
      REQUIRE(part.first == next);
      REQUIRE(part.count >= 1);
      REQUIRE(part.count <= limits.max_inputs);
      const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(part.first);
      const size_t sum = std::accumulate(from, from + static_cast<std::ptrdiff_t>(part.count), size_t{0});
      REQUIRE((part.count == 1 || sum + part.count * kInputOverhead <= limits.max_bytes));
      next += part.count;
    }
    REQUIRE(next == bytes.size());
  }
}

TEST_CASE("The limits of the server lower those of the options, and unknown ones do not") {
  Options options;
  options.max_in_flight = 4;
  options.max_request_bytes = 8 << 20;
  options.max_request_images = 64;
  const auto unknown = LimitsFor(options, {});
  CHECK(unknown.max_bytes == 8 << 20);
  CHECK(unknown.max_inputs == 64);
  const auto small = LimitsFor(options, {.max_message_bytes = 1 << 20, .max_inputs_per_request = 16});
  CHECK(small.max_bytes == (1 << 20) - kMessageOverhead);
  CHECK(small.max_inputs == 16);
}

TEST_CASE("The requests of a call in flight together fit the queue of the server") {
  Options options;
  options.max_in_flight = 4;
  ServerInfo::Limits server;
  server.queue_images = 32;
  server.queue_bytes = 4 << 20;
  const auto limits = LimitsFor(options, server);
  CHECK(limits.max_inputs == 8);
  CHECK(limits.max_bytes == 1 << 20);
  server.queue_images = 2;  // fewer than requests in flight
  CHECK(LimitsFor(options, server).max_inputs == 1);
}

}  // namespace
}  // namespace embedd::client::internal
