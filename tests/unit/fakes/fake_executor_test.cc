// SPDX-License-Identifier: Apache-2.0

#include "tests/support/fake_executor.h"

#include <stdexcept>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr FakeExecutor::Options kOptions;  // weights 1000, batch 100 + 100 an image

absl::Status RunOf(FakeExecutor& executor, const std::vector<uint8_t>& bytes, int bucket,
                   std::vector<float>* rows = nullptr) {
  std::vector<const uint8_t*> images;
  for (const uint8_t& byte : bytes) images.push_back(&byte);
  std::vector<float> out(bytes.size() * static_cast<size_t>(executor.dimension()));
  const absl::Status status = executor.Run(Tower::kImage, images, bucket, absl::MakeSpan(out));
  if (rows != nullptr) *rows = out;
  return status;
}

TEST_CASE("The fake's row tells which image it came from") {
  FakeExecutor executor;
  REQUIRE(executor.Load(Tower::kImage).ok());
  std::vector<float> rows;
  REQUIRE(RunOf(executor, {7, 200}, 2, &rows).ok());
  CHECK(std::vector<float>(rows.begin(), rows.begin() + 4) == FakeExecutor::FakeRow(7, 4));
  CHECK(std::vector<float>(rows.begin() + 4, rows.end()) == FakeExecutor::FakeRow(200, 4));
  CHECK(FakeExecutor::FakeRow(0, 2) == std::vector<float>{1, 2});
  CHECK(executor.batch_sizes() == std::vector<int>{2});
}

TEST_CASE("Weights and batches take memory, padding too, and all of it comes back") {
  FakeExecutor executor;
  DeviceMemory& memory = executor.memory();
  REQUIRE(executor.Load(Tower::kImage).ok());
  REQUIRE(executor.Load(Tower::kImage).ok());  // there already
  CHECK(executor.loads() == 1);
  CHECK(memory.Read().allocated == kOptions.weight_bytes);
  memory.ResetPeak();
  REQUIRE(RunOf(executor, {1, 2, 3}, 4).ok());
  CHECK(memory.Read().peak == 1000 + 100 + 4 * 100);
  CHECK(memory.Read().allocated == 1000);
  CHECK(memory.Read().reserved == 1500);  // the cache
  memory.Trim();
  CHECK(memory.Read().reserved == 1000);
  REQUIRE(executor.Offload().ok());
  REQUIRE(executor.Offload().ok());
  CHECK(memory.Read().allocated == 0);
}

TEST_CASE("Each tower is loaded by itself, and an offload takes both") {
  FakeExecutor executor({.text_weight_bytes = 300});
  REQUIRE(executor.Load(Tower::kText).ok());
  CHECK(executor.loaded(Tower::kText));
  CHECK_FALSE(executor.loaded(Tower::kImage));
  CHECK(executor.memory().Read().allocated == 300);
  CHECK_FALSE(RunOf(executor, {1}, 1).ok());
  REQUIRE(executor.Load(Tower::kImage).ok());
  CHECK(executor.memory().Read().allocated == 1300);
  REQUIRE(RunOf(executor, {1}, 1).ok());
  CHECK(executor.batch_towers() == std::vector<Tower>{Tower::kImage});
  REQUIRE(executor.Offload().ok());
  CHECK(executor.memory().Read().allocated == 0);
  CHECK_FALSE(executor.loaded(Tower::kText));
  FakeExecutor images_only;
  CHECK(absl::IsUnimplemented(images_only.Load(Tower::kText)));
}

TEST_CASE("A batch beyond the limit is out of memory and takes nothing") {
  FakeExecutor executor;
  REQUIRE(executor.Load(Tower::kImage).ok());
  executor.counting_memory().SetLimit(1000 + 100 + 2 * 100);
  CHECK(RunOf(executor, {1, 2}, 2).ok());
  CHECK(absl::IsResourceExhausted(RunOf(executor, {1, 2}, 3)));
  CHECK(executor.memory().Read().allocated == 1000);
  CHECK(executor.batch_sizes() == std::vector<int>{2});
}

TEST_CASE("Weights beyond the limit do not load") {
  FakeExecutor executor;
  executor.counting_memory().SetLimit(999);
  CHECK(absl::IsResourceExhausted(executor.Load(Tower::kImage)));
  CHECK_FALSE(RunOf(executor, {1}, 1).ok());
}

TEST_CASE("A script may fail a batch, throw, spoil rows and leak") {
  FakeExecutor executor;
  REQUIRE(executor.Load(Tower::kImage).ok());
  executor.SetScript({.on_run = [](int, int) { return absl::InternalError("no"); }});
  CHECK(absl::IsInternal(RunOf(executor, {1}, 1)));
  CHECK(executor.memory().Read().allocated == 1000);
  executor.SetScript({.on_run = [](int, int) -> absl::Status { throw std::runtime_error("boo"); }});
  CHECK_THROWS_AS(RunOf(executor, {1}, 1), std::runtime_error);
  CHECK(executor.memory().Read().allocated == 1000);
  executor.SetScript({.on_rows = [](absl::Span<float> rows) { rows[0] = -5; }, .leak_bytes = 30});
  std::vector<float> rows;
  REQUIRE(RunOf(executor, {1}, 1, &rows).ok());
  CHECK(rows[0] == -5);
  CHECK(executor.memory().Read().allocated == 1030);
}

TEST_CASE("Garbage counters are a lost device") {
  FakeExecutor executor;
  CHECK(executor.memory().CheckSane().ok());
  executor.counting_memory().SetGarbage(true);
  CHECK(absl::IsDataLoss(executor.memory().CheckSane()));
}

}  // namespace
}  // namespace embedd
