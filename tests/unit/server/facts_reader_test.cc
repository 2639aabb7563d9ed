// SPDX-License-Identifier: Apache-2.0

#include "server/facts_reader.h"

#include "server/rpc/answer_place.h"
#include "tests/support/catch.h"
#include "tests/support/device_road.h"
#include "tests/support/quiet_stderr.h"

namespace embedd {
namespace {

struct Fixture {
  DeviceRoad road{{.devices = 2}};
  PlaceBudget budget{{.images = 10, .bytes = 1000}};
  PlaceBudget waiting_room{{.images = 10, .bytes = 1000}};
  AnswerLedger answers;
  std::atomic<DeviceGroup*> devices{nullptr};
  const FactsReader reader{{.versions = {.server = "1.2.3"}, .max_batch = 8},
                           {.clock = &road.clock,
                            .state = &road.state,
                            .budget = &budget,
                            .waiting_room = &waiting_room,
                            .answers = &answers,
                            .queue = &road.queue,
                            .devices = &devices}};
};

TEST_CASE("Before the model is read the server tells its state, its limits and its versions") {
  Fixture f;
  f.road.clock.AdvanceTime(absl::Seconds(3));
  const ServerFacts facts = f.reader.Read();
  CHECK(facts.state == ServerState::kLoading);
  CHECK_FALSE(facts.serving);
  CHECK_FALSE(facts.why.empty());
  CHECK(facts.uptime_seconds == Approx(3));
  CHECK(facts.process_footprint > 0);
  CHECK(facts.versions.server == "1.2.3");
  CHECK(facts.queue.images_limit == 10);
  CHECK(facts.queue.bytes_limit == 1000);
  CHECK(facts.max_batch == 8);
  CHECK(facts.devices.empty());
}

TEST_CASE("Places are told apart by what holds them: inputs, answers, and streams that wait") {
  Fixture f;
  const Places inputs = *f.budget.Reserve(3, 300);
  AnswerPlace answer = *f.answers.Reserve(/*flow=*/1, 50);
  answer.Hold(*f.budget.Reserve(0, 50));
  const Places waiting = *f.waiting_room.Reserve(1, 70);
  ServerFacts::Queue queue = f.reader.Read().queue;
  CHECK(queue.images == 3);
  CHECK(queue.bytes == 300);
  CHECK(queue.answer_bytes == 50);
  CHECK(queue.stream_waiting_bytes == 70);
  auto call = std::make_shared<CallToWaitFor>(3);
  f.road.Push(call, 0);
  for (const uint32_t i : {1u, 2u}) f.road.Push(call, i, {.lane = Lane::kBulk});
  queue = f.reader.Read().queue;
  CHECK(queue.interactive_images == 1);
  CHECK(queue.bulk_images == 2);
}

TEST_CASE("Each device tells its own batches and memory, and whether it serves") {
  const QuietStderr quiet;
  Fixture f;
  f.road.LimitToBatchOf(2);  // the first
  REQUIRE(f.road.group->Start().ok());
  f.devices = f.road.group.get();
  ServerFacts facts = f.reader.Read();
  CHECK(facts.state == ServerState::kReady);
  CHECK(facts.serving);
  REQUIRE(facts.devices.size() == 2);
  const ServerFacts::Device& limited = facts.devices[0];
  CHECK(limited.name == "cpu:0");
  CHECK(limited.serving);
  CHECK(limited.buckets == std::vector<int>{1, 2, 4, 8});
  CHECK(limited.cap <= 2);
  CHECK(limited.cap_set_by != "max_batch");
  CHECK(limited.baseline == 1000);
  CHECK(limited.allocated == limited.baseline);
  CHECK(limited.peak >= limited.baseline);
  CHECK(limited.peak <= limited.limit);
  CHECK(facts.devices[1].name == "cpu:1");
  CHECK(facts.devices[1].cap == 8);
  CHECK(facts.devices[1].cap_set_by == "max_batch");
  f.road.device(0).GiveUp();
  facts = f.reader.Read();
  CHECK_FALSE(facts.devices[0].serving);
  CHECK(facts.devices[1].serving);
}

}  // namespace
}  // namespace embedd
