// SPDX-License-Identifier: Apache-2.0
//
// What each lane gets while more work comes than the device can do.

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "server/batching/batch_former.h"
#include "tests/support/catch.h"
#include "tests/support/recording_call.h"

namespace embedd {
namespace {

class NobodyListens final : public CallSink {
 public:
  void OnAnswer(uint32_t, Answer) override {}
};

// A device with random speed and a controller that knows it, behind a queue.
struct Overload {
  explicit Overload(uint64_t seed)
      : random(seed),
        options{.max_batch = std::vector<int>{1, 2, 8, 16, 48, 64}[random() % 6],
                .latency_target = absl::Milliseconds(std::vector<int>{0, 50, 200}[random() % 3]),
                .padded = random() % 2 == 0},
        cap(options),
        c(static_cast<double>(random() % 20)),
        a(1 + static_cast<double>(random() % 100)) {
    for (const int rung : cap.ladder().rungs()) cap.OnBatch(rung, rung, TimeOf(rung), {});
  }

  absl::Duration TimeOf(int n) const {
    return absl::Milliseconds(c + a * (options.padded ? cap.ladder().Up(n) : n));
  }
  void Push(uint32_t index, Lane lane, uint64_t flow) {
    queue.Push(MakeTask(call, index, {.lane = lane, .flow = flow}));
  }
  std::vector<EmbedTask> Pop() { return queue.Pop(PlanBatch(queue.sizes(), cap, options.padded)); }
  static void Answered(std::vector<EmbedTask>& batch) {
    for (EmbedTask& task : batch) task.Finish(Answer());
  }

  std::mt19937_64 random;
  CapController::Options options;
  CapController cap;
  double c, a;  // milliseconds
  SimulatedClock clock;
  BoundedQueue queue{{}, &clock};
  std::shared_ptr<CallSink> call = std::make_shared<NobodyListens>();
};

TEST_CASE(
    "While both lanes wait, bulk gets a tenth of the images in every window, and interactive the most of "
    "them") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Overload o(seed);
    const CapController::Cap cap = o.cap.cap();
    std::vector<int> images{0}, bulk{0};  // sums
    for (int round = 0; round < 300; ++round) {
      while (o.queue.sizes().interactive < cap.images) o.Push(0, Lane::kInteractive, o.random() % 5);
      while (o.queue.sizes().bulk < cap.images) o.Push(0, Lane::kBulk, o.random() % 3);
      std::vector<EmbedTask> batch = o.Pop();
      int bulk_here = 0;
      for (const EmbedTask& task : batch) bulk_here += task.lane == Lane::kBulk;
      images.push_back(images.back() + static_cast<int>(batch.size()));
      bulk.push_back(bulk.back() + bulk_here);
      Overload::Answered(batch);
    }
    INFO("seed " << seed << ", cap " << cap.images << ", with bulk " << cap.bulk);
    for (size_t from = 0; from < images.size(); from += 10) {
      for (size_t to = from + 1; to < images.size(); to += 10) {
        if (bulk[to] - bulk[from] < 0.1 * (images[to] - images[from]) - 8)
          FAIL("from " << from << " to " << to);
      }
    }
    REQUIRE(bulk.back() <= 0.2 * images.back() + 8);
  }
}

TEST_CASE(
    "At twice the capacity the device works for those who still wait, and afterwards nothing is left of it") {
  double all = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Overload o(seed);
    const int cap = o.cap.cap().images;
    const absl::Duration batch_time = o.TimeOf(cap), patience = 10 * batch_time;
    const absl::Duration each = batch_time / cap;  // at the device's full rate
    const absl::Time begin = o.clock.TimeNow(), end = begin + 200 * batch_time;
    absl::Time next = begin;
    int in_time = 0, late = 0;
    while (o.clock.TimeNow() < end) {
      for (; next <= o.clock.TimeNow(); next += each / 2) {
        o.queue.Push(
            MakeTask(o.call, 0,
                     {.flow = o.random() % 20,
                      .deadline = next + patience * (1 + 0.1 * static_cast<double>(o.random() % 10))}));
      }
      std::vector<EmbedTask> batch = o.Pop();
      o.clock.AdvanceTime(batch.empty() ? each : o.TimeOf(static_cast<int>(batch.size())));
      for (const EmbedTask& task : batch) ++(task.deadline >= o.clock.TimeNow() ? in_time : late);
      Overload::Answered(batch);
    }
    const double share = in_time * absl::FDivDuration(each, end - begin);
    INFO("seed " << seed << ", cap " << cap << ", share " << share);
    // The least is that of a device whose batches cost nearly as much alone as full: it works at the edge.
    REQUIRE(late == 0);
    REQUIRE(share >= 0.15);
    all += share / 200;

    o.clock.AdvanceTime(2 * patience);
    o.Push(1, Lane::kInteractive, 99);
    std::vector<EmbedTask> batch = o.Pop();
    REQUIRE(batch.size() == 1);
    REQUIRE(batch[0].index() == 1);
    Overload::Answered(batch);
    REQUIRE(o.Pop().empty());
    REQUIRE(o.queue.size() == 0);
  }
  INFO("on average over all devices " << all);
  CHECK(all >= 0.75);
}

TEST_CASE(
    "However much bulk waits, an interactive image waits at most for the batch on the device and the next "
    "one") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Overload o(seed);
    const CapController::Cap cap = o.cap.cap();
    uint32_t next = 1;
    absl::Time pushed = absl::InfiniteFuture();  // the probe's, while it waits
    absl::Duration longest;
    for (int round = 0; round < 200; ++round) {
      while (o.queue.sizes().bulk < 3 * cap.images) o.Push(0, Lane::kBulk, o.random() % 3);
      // The device is free and takes the next batch; somewhere inside it the probe comes.
      std::vector<EmbedTask> running = o.Pop();
      for (const EmbedTask& task : running) {
        if (task.lane != Lane::kInteractive) continue;
        longest = std::max(longest, o.clock.TimeNow() - pushed);
        pushed = absl::InfiniteFuture();
      }
      const absl::Duration time = o.TimeOf(static_cast<int>(running.size()));
      const absl::Duration before = time * static_cast<double>(o.random() % 100) / 100.0;
      o.clock.AdvanceTime(before);
      if (pushed == absl::InfiniteFuture()) {
        o.Push(next++, Lane::kInteractive, 7);
        pushed = o.clock.TimeNow();
      }
      o.clock.AdvanceTime(time - before);
      Overload::Answered(running);
    }
    INFO("seed " << seed << ", cap " << cap.images << ", with bulk " << cap.bulk);
    REQUIRE(next > 50);
    REQUIRE(longest <= 2 * o.TimeOf(cap.bulk));
  }
}

}  // namespace
}  // namespace embedd
