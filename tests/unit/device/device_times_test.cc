// SPDX-License-Identifier: Apache-2.0
//
// How long work is expected to take on a device, by the times that were measured of each tower: over one
// device with its real thread and the fake executor.

#include <memory>
#include <thread>

#include "tests/support/catch.h"
#include "tests/support/device_road.h"
#include "tests/support/metric_value.h"
#include "tests/support/quiet_stderr.h"

namespace embedd {
namespace {

TEST_CASE("The expected time counts the backlog, the batch on the device, and what is asked about") {
  DeviceRoad road;
  road.executor().SetScript({.on_run = [&](int, int bucket) {
    road.clock.AdvanceTime(absl::Milliseconds(10 * bucket));
    return absl::OkStatus();
  }});
  CHECK(road.Expected(Lane::kBulk, 5) == absl::ZeroDuration());
  REQUIRE(road.group->Start().ok());
  CHECK(absl::ToDoubleMilliseconds(road.Expected(Lane::kBulk, 4)) == Approx(40));
  CHECK(absl::ToDoubleMilliseconds(road.Expected(Lane::kBulk, 17)) == Approx(170));
  CHECK(absl::ToDoubleMilliseconds(road.device().TimeOf({{8}})) == Approx(80));
  road.StopAtBarrier();
  road.barrier.Hold(true);
  auto call = std::make_shared<CallToWaitFor>(4);
  road.Push(call, 0);
  road.barrier.WaitForArrivals(1);
  for (uint32_t i = 1; i < 4; ++i) road.Push(call, i);
  CHECK(absl::ToDoubleMilliseconds(road.Expected(Lane::kBulk, 1)) == Approx(50));
  road.barrier.Hold(false);
  call->Wait();
}

TEST_CASE("Beside a bulk job an interactive call is expected when its lane comes, and is then in time") {
  DeviceRoad road;
  road.executor().SetScript({.on_run = [&](int, int bucket) {
    road.barrier.Arrive();
    road.clock.AdvanceTime(absl::Milliseconds(10 * bucket));
    return absl::OkStatus();
  }});
  REQUIRE(road.group->Start().ok());
  const int warm_up = road.barrier.arrived();
  road.barrier.Hold(true);
  auto job = std::make_shared<CallToWaitFor>(800), single = std::make_shared<CallToWaitFor>(1);
  for (uint32_t i = 0; i < 800; ++i) road.Push(job, i, {.lane = Lane::kBulk, .flow = 1});
  road.barrier.WaitForArrivals(warm_up + 1);
  CHECK(absl::ToDoubleSeconds(road.Expected(Lane::kBulk, 1)) == Approx(8.01));
  // As admission reckons: what is before it a quarter longer.
  const absl::Duration needed =
      road.Expected(Lane::kInteractive, 1) + road.Expected(Lane::kInteractive, 0) / 4;
  CHECK(needed <= absl::Milliseconds(150));
  road.Push(single, 0, {.lane = Lane::kInteractive, .flow = 2, .deadline = road.clock.TimeNow() + needed});
  road.barrier.Hold(false);
  single->Wait();
  CHECK(single->reasons().empty());
  job->Wait();
}

// A device that takes `image_ms` for each picture and `text_ms` for each text of a batch, and has run both.
// Images and texts wait behind the batch that it holds.
struct TwoTowers : DeviceRoad {
  TwoTowers(int image_ms, int text_ms) : DeviceRoad({.text_weight_bytes = 10}) {
    Take(image_ms);
    REQUIRE(group->Start().ok());
    Take(text_ms);
    for (const int texts : {1, 8}) RunTexts(texts);
  }
  void Take(int ms) {
    executor().SetScript({.on_run = [this, ms](int, int bucket) {
      clock.AdvanceTime(absl::Milliseconds(ms * bucket));
      return absl::OkStatus();
    }});
  }
  void RunTexts(int n) {
    auto call = std::make_shared<CallToWaitFor>(n);
    for (int i = 0; i < n; ++i) Push(call, static_cast<uint32_t>(i), {.tower = Tower::kText});
    call->Wait();
    while (device().in_flight()[Tower::kText] > 0)
      std::this_thread::yield();  // it is answered a moment before
  }
  // `n` inputs of `tower` wait for the device.
  void LetWait(Tower tower, int n, Lane lane) {
    StopAtBarrier();
    barrier.Hold(true);
    held = std::make_shared<CallToWaitFor>(1);
    Push(held, 0, {.lane = lane});
    barrier.WaitForArrivals(1);
    waiting = std::make_shared<CallToWaitFor>(n);
    for (int i = 0; i < n; ++i) Push(waiting, static_cast<uint32_t>(i), {.lane = lane, .tower = tower});
  }
  // As admission reckons: what is before it a quarter longer.
  absl::Duration Needed(Lane lane, int images, int texts) const {
    return Expected(lane, images, texts) + Expected(lane, 0) / 4;
  }

  const QuietStderr quiet;
  std::shared_ptr<CallToWaitFor> held, waiting;
};

TEST_CASE("A text takes the time of its own tower, not that of a picture, and a picture that of its own") {
  TwoTowers road(/*image_ms=*/100, /*text_ms=*/1);
  CHECK(absl::ToDoubleMilliseconds(road.device().TimeOf({{1, 0}})) == Approx(100));
  CHECK(absl::ToDoubleMilliseconds(road.device().TimeOf({{0, 1}})) == Approx(1));
  CHECK(absl::ToDoubleMilliseconds(road.device().TimeOf({{2, 16}})) == Approx(216));
  CHECK(absl::ToDoubleMilliseconds(road.device().BatchTime(Tower::kText)) == Approx(8));
  CHECK(absl::ToDoubleMilliseconds(road.Expected(Lane::kInteractive, 2, 1)) == Approx(201));
  CHECK(absl::ToDoubleMilliseconds(road.Expected(Lane::kInteractive, 0, 3)) == Approx(3));
}

TEST_CASE("A thousand texts before it do not refuse a picture that has two seconds, nor pictures a text") {
  const Lane lane = GENERATE(Lane::kInteractive, Lane::kBulk);
  {
    TwoTowers road(/*image_ms=*/100, /*text_ms=*/1);
    road.LetWait(Tower::kText, 1000, lane);
    CHECK(absl::ToDoubleMilliseconds(road.Needed(lane, 1, 0)) == Approx(1200 + 1100 / 4));
  }
  {
    TwoTowers road(/*image_ms=*/1, /*text_ms=*/100);
    road.LetWait(Tower::kImage, 1000, lane);
    CHECK(absl::ToDoubleMilliseconds(road.Needed(lane, 0, 1)) == Approx(1101 + 1001. / 4));
  }
}

TEST_CASE("Beside a bulk job an interactive call counts a tenth of the time for it, not of the number") {
  const auto expected_ms = [](Tower of_job, Tower of_call, int inputs) {
    TwoTowers road(/*image_ms=*/100, /*text_ms=*/1);
    road.LetWait(of_job, 1000, Lane::kBulk);
    auto call = std::make_shared<CallToWaitFor>(inputs);
    for (int i = 0; i < inputs; ++i) road.Push(call, static_cast<uint32_t>(i), {.tower = of_call});
    return absl::ToDoubleMilliseconds(road.Expected(Lane::kInteractive, 0));
  };
  // The picture on the device, the call, and of the job a ninth of the call's time.
  CHECK(expected_ms(Tower::kText, Tower::kImage, 9) == Approx(100 + 900 + 100).margin(1.5));
  CHECK(expected_ms(Tower::kImage, Tower::kText, 90) == Approx(100 + 90 + 100).margin(0.5));
}

TEST_CASE("Batches of one tower do not keep the times of the other one alive") {
  TwoTowers road(/*image_ms=*/1000, /*text_ms=*/1);
  CHECK(road.Expected(Lane::kBulk, 1) == absl::Seconds(1));
  road.clock.AdvanceTime(absl::Seconds(10));
  road.RunTexts(1);
  CHECK(absl::ToDoubleMilliseconds(road.Expected(Lane::kBulk, 0, 1)) == Approx(1));
  CHECK(road.Expected(Lane::kBulk, 1) == absl::ZeroDuration());  // it may be faster by now
}

TEST_CASE("Each tower has its own cap and its own series") {
  TwoTowers road(/*image_ms=*/100, /*text_ms=*/1);
  CHECK(MetricValue(road.metrics, "embedd_batch_cap{device=\"cpu\",tower=\"text\"}") == 8);
  CHECK(MetricValue(road.metrics, "embedd_batch_cap{device=\"cpu\",tower=\"image\"}") == 8);
  CHECK(MetricValue(road.metrics, "embedd_batch_size_sum{tower=\"text\"}") == 9);
  CHECK(MetricValue(road.metrics, "embedd_batch_size_sum{tower=\"image\"}") == 0);
}

TEST_CASE("A device that ran nothing for ten seconds refuses nobody by what it measured before") {
  DeviceRoad road;
  int ms_per_image = 1000;  // a bad moment
  road.executor().SetScript({.on_run = [&](int, int bucket) {
    road.clock.AdvanceTime(absl::Milliseconds(ms_per_image * bucket));
    return absl::OkStatus();
  }});
  REQUIRE(road.group->Start().ok());
  auto refused = std::make_shared<CallToWaitFor>(1), served = std::make_shared<CallToWaitFor>(1);
  CHECK(road.Expected(Lane::kBulk, 1) == absl::Seconds(1));
  road.Push(refused, 0, {.deadline = road.clock.TimeNow() + absl::Milliseconds(500)});
  refused->Wait();
  CHECK(refused->reasons() == std::vector<Reason>{Reason::kDeadline});

  road.clock.AdvanceTime(absl::Seconds(10));
  ms_per_image = 10;
  CHECK(road.Expected(Lane::kBulk, 1) == absl::ZeroDuration());
  road.Push(served, 0, {.deadline = road.clock.TimeNow() + absl::Milliseconds(500)});
  served->Wait();
  CHECK(served->reasons().empty());
  CHECK(road.Expected(Lane::kBulk, 1) > absl::ZeroDuration());
}

}  // namespace
}  // namespace embedd
