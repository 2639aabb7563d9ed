// SPDX-License-Identifier: Apache-2.0

#include "server/facts_reader.h"

#include <algorithm>

#include "server/support/process.h"

namespace embedd {
namespace {

ServerFacts::Device ReadDevice(const DeviceThread& device) {
  const DeviceThread::Batching batching = device.batching();
  const MemoryBoard::View memory = device.memory().view();
  return {.name = device.name(),
          .serving = device.serving(),
          .buckets = batching.buckets,
          .cap = batching.cap.images,
          .cap_set_by = std::string(batching.cap.set_by),
          .baseline = memory.baseline,
          .allocated = memory.now.allocated,
          .reserved = memory.now.reserved,
          .driver = memory.now.driver,
          .peak = memory.highest_peak,
          .limit = memory.now.limit};
}

}  // namespace

ServerFacts FactsReader::Read() const {
  const PlaceBudget::Usage used = deps_.budget->usage();
  const int64_t answers = deps_.answers->bytes();
  const BoundedQueue::Sizes prepared = deps_.queue->sizes();
  ServerFacts facts{.state = deps_.state->state(),
                    .serving = deps_.state->serving(),
                    .why = deps_.state->why(),
                    .uptime_seconds = absl::ToDoubleSeconds(deps_.clock->TimeNow() - started_),
                    .process_footprint = LastProcessFootprintBytes(),
                    .versions = options_.versions,
                    .queue = {.images = used.images,
                              .images_limit = deps_.budget->options().images,
                              // Read one after the other, while answers come and go.
                              .bytes = std::max<int64_t>(0, used.bytes - answers),
                              .bytes_limit = deps_.budget->options().bytes,
                              .answer_bytes = answers,
                              .stream_waiting_bytes = deps_.waiting_room->usage().bytes,
                              .interactive_images = prepared.interactive,
                              .bulk_images = prepared.bulk},
                    .max_batch = options_.max_batch};
  if (const DeviceGroup* group = deps_.devices->load()) {
    for (const std::unique_ptr<DeviceThread>& device : group->devices())
      facts.devices.push_back(ReadDevice(*device));
  }
  return facts;
}

}  // namespace embedd
