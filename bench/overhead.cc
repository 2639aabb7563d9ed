// SPDX-License-Identifier: Apache-2.0
//
// bench_overhead: CPU time that queue, batching, release and reply take per image: all between "the pixels
// are ready" and "the answer is packed". The device is one that sleeps, so batches form as under load. Prints
// one JSON line.
//
//   bench_overhead [--rounds 7] [--calls 2000] [--images 16] [--memory-limit 0]

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "bench/common.h"
#include "server/device/device_group.h"
#include "server/queue/places.h"
#include "server/reply/pending_call.h"
#include "server/reply/reply_stage.h"
#include "server/support/log.h"
#include "server/telemetry/batch_ledger.h"

namespace embedd::bench {
namespace {

constexpr int kDimension = 512;
constexpr int kCallsInFlight = 16;

void SleepAsADevice(int /*bucket*/) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

// The road from the queue to the reply, put together as the server does.
struct Road {
  explicit Road(int64_t memory_limit) {
    std::vector<DeviceGroup::Device> devices(1);
    devices[0].options.cap = {.max_batch = 64, .latency_target = absl::ZeroDuration()};
    devices[0].options.session.blank[Tower::kImage] = {127};
    devices[0].executor = std::make_unique<NullExecutor>(kDimension, SleepAsADevice, memory_limit);
    group = std::make_unique<DeviceGroup>(
        std::move(devices),
        DeviceGroup::Deps{.queue = &queue,
                          .metrics = &metrics,
                          .ledger = &ledger,
                          .state = &state,
                          .reply = [this](FinishedBatch batch) { reply.Send(std::move(batch)); },
                          .on_all_lost = [] { std::_Exit(1); }});
    Must(group->Start());
  }
  ~Road() {
    group->Stop(absl::Seconds(10));
    reply.Stop();
  }

  Metrics metrics;
  StateBoard state;
  BatchLedger ledger;
  PlaceBudget budget{{}};
  BoundedQueue queue{{}, Clock::Real()};
  ReplyStage reply{Clock::Real(), &metrics};
  std::unique_ptr<DeviceGroup> group;
};

// CPU microseconds per image over `calls` calls, of which kCallsInFlight are under way.
double Round(Road& road, int calls, int images) {
  Mutex mu;
  CondVar ended;
  int in_flight = 0;
  const double start = CpuSeconds();
  for (int c = 0; c < calls; ++c) {
    {
      MutexLock lock(&mu);
      while (in_flight == kCallsInFlight) ended.Wait(&mu);
      ++in_flight;
    }
    Places places = Must(road.budget.Reserve(images, images));
    const auto call = std::make_shared<PendingCall>(
        PendingCall::Options{.inputs = static_cast<uint32_t>(images), .dimension = kDimension}, &road.metrics,
        [&](CallResult result) {
          Must(result.status);
          MutexLock lock(&mu);
          --in_flight;
          ended.Signal();
        });
    for (int i = 0; i < images; ++i) {
      EmbedTask task(call, static_cast<uint32_t>(i));
      task.pixels = std::make_unique<uint8_t[]>(1);
      task.place = places.Take(1, 1);
      task.flow = static_cast<uint64_t>(c % kCallsInFlight);
      road.queue.Push(std::move(task));
    }
  }
  MutexLock lock(&mu);
  while (in_flight > 0) ended.Wait(&mu);
  return 1e6 * (CpuSeconds() - start) / calls / images;
}

int Main(int argc, char** argv) {
  int rounds = 7, calls = 2000, images = 16;
  int64_t memory_limit = 0;
  CLI::App app("CPU time of queue, scheduler, release and reply per image");
  app.add_option("--rounds", rounds, "rounds");
  app.add_option("--calls", calls, "calls in a round");
  app.add_option("--images", images, "images in a call");
  app.add_option("--memory-limit", memory_limit,
                 "bytes of the device that batches are kept below; 0: no limit");
  CLI11_PARSE(app, argc, argv);
  ConfigureLogging("error", "text");
  Road road(memory_limit);
  Round(road, calls / 4, images);
  std::vector<double> micros;
  for (int round = 0; round < rounds; ++round) micros.push_back(Round(road, calls, images));
  std::printf("{\"microseconds_per_image\": %s, \"images_per_call\": %d}\n", JsonList(micros).c_str(),
              images);
  return 0;
}

}  // namespace
}  // namespace embedd::bench

int main(int argc, char** argv) { return embedd::bench::Main(argc, argv); }
