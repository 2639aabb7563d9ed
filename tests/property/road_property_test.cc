// SPDX-License-Identifier: Apache-2.0

#include <cstdlib>
#include <string>

#include "tests/property/random_road.h"
#include "tests/support/catch.h"
#include "tests/support/metric_value.h"
#include "tests/support/quiet_stderr.h"

namespace embedd {
namespace {

constexpr uint64_t kFirstSeed = 20261124;
// The thread sanitizer has nothing to find in one thread; it only needs to see that the paths are clean.
#if defined(__SANITIZE_THREAD__)
constexpr int kSchedules = 2'000;
#else
constexpr int kSchedules = 10'000;
#endif

// EMBEDD_SEED plays one schedule again.
uint64_t SeedToRepeat() {
  const char* seed = std::getenv("EMBEDD_SEED");
  return seed == nullptr ? 0 : std::stoull(seed);
}

void PlayOne(uint64_t seed, Metrics* metrics, RoadTotals* totals) {
  const std::string broken = RandomRoad(seed, metrics, totals).Play();
  if (!broken.empty()) FAIL("EMBEDD_SEED=" << seed << ": " << broken);
}

TEST_CASE(
    "Ten thousand random schedules: each input is answered once, each row is its own, everything is given "
    "back") {
  const QuietStderr quiet;
  Metrics metrics;
  RoadTotals totals;
  if (const uint64_t seed = SeedToRepeat(); seed != 0) return PlayOne(seed, &metrics, &totals);
  for (int i = 0; i < kSchedules; ++i) PlayOne(kFirstSeed + static_cast<uint64_t>(i), &metrics, &totals);

  CHECK(ImagesTotal(metrics, Outcome::kOk) == totals.ok);
  CHECK(ImagesTotal(metrics, Outcome::kRejected) == totals.rejected);
  CHECK(ImagesTotal(metrics, Outcome::kExpired) == totals.expired);
  CHECK(ImagesTotal(metrics, Outcome::kCancelled) == totals.cancelled);
  CHECK(ImagesTotal(metrics, Outcome::kFailed) == totals.failed);
  CHECK(ImagesTotal(metrics, Outcome::kRefused) == 0);
  CHECK(totals.ok + totals.rejected + totals.expired + totals.cancelled + totals.failed == totals.inputs);
  CHECK(MetricValue(metrics, "embedd_batch_size_sum") == totals.ok);
  CHECK(MetricValue(metrics, "embedd_batch_padding_total") == totals.padding);
  CHECK(MetricValue(metrics, "embedd_batch_unreleased_bytes") == 0);

  // The schedules are worth something: every kind of event happened often.
  CHECK(totals.inputs > 10 * kSchedules);
  CHECK(totals.ok > totals.inputs / 3);
  CHECK(totals.ok_calls > kSchedules);
  CHECK(totals.batches > 2 * kSchedules);
  for (const int64_t events : {totals.rejected, totals.expired, totals.cancelled, totals.failed,
                               totals.refused_calls, totals.out_of_memory, totals.bad_rows}) {
    CHECK(events > kSchedules / 10);
  }
  CHECK(totals.lost_devices > kSchedules / 200);
}

}  // namespace
}  // namespace embedd
