// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/prepare_cost.h"

#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int kJpeg = PrepareLoad::kFirstFormat;

// The first bytes of a PNG file: signature and IHDR.
std::string PngHead(uint32_t width, uint32_t height) {
  std::string head("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  for (const uint32_t n : {width, height}) {
    for (int shift = 24; shift >= 0; shift -= 8) head.push_back(static_cast<char>(n >> shift));
  }
  return head + std::string("\x08\x02\0\0\0", 5) + std::string(8, '\0');
}

TEST_CASE("The pixels of a file are known from its header, and cost more than those of a smaller one") {
  const PrepareLoad large = PrepareLoad::OfFile(PngHead(4000, 3000));
  const PrepareLoad small = PrepareLoad::OfFile(PngHead(320, 240));
  CHECK(large.units == 12'000'000);
  CHECK(small.units == 320 * 240);
  const PrepareCost cost;
  CHECK(cost.Of(large) > 100 * cost.Of(small));
}

TEST_CASE("A file that cannot be read is known by its bytes") {
  const PrepareLoad load = PrepareLoad::OfFile("not a picture");
  CHECK(load.kind == PrepareLoad::kUnknown);
  CHECK(load.units == 13);
  CHECK(PrepareCost().Of(load) > absl::ZeroDuration());
  CHECK(PrepareCost().Of(PrepareLoad::OfFile("")) > absl::ZeroDuration());
}

TEST_CASE("What was measured counts, by the pixel, also for sizes that were not") {
  PrepareCost cost;
  CHECK_FALSE(cost.measured());
  cost.Add({kJpeg, 1'000'000}, absl::Milliseconds(50));
  CHECK(cost.measured());
  CHECK(cost.Of({kJpeg, 1'000'000}) == absl::Milliseconds(50));
  CHECK(cost.Of({kJpeg, 10'000'000}) == absl::Milliseconds(500));
  CHECK(cost.Of({kJpeg + 1, 1'000'000}) != absl::Milliseconds(50));  // another format
}

TEST_CASE("Each size has its own measure: a large file may cost less by the pixel") {
  PrepareCost cost;
  cost.Add({kJpeg, 100'000}, absl::Milliseconds(1));
  cost.Add({kJpeg, 12'000'000}, absl::Milliseconds(60));
  CHECK(cost.Of({kJpeg, 100'000}) == absl::Milliseconds(1));
  CHECK(cost.Of({kJpeg, 12'000'000}) == absl::Milliseconds(60));
}

TEST_CASE("What was measured in a bad moment is forgotten") {
  PrepareCost cost;
  cost.Add({kJpeg, 1000}, absl::Seconds(1));
  for (int i = 0; i < 100; ++i) cost.Add({kJpeg, 1000}, absl::Milliseconds(1));
  CHECK(cost.Of({kJpeg, 1000}) < absl::Milliseconds(10));
}

}  // namespace
}  // namespace embedd
