// SPDX-License-Identifier: Apache-2.0
//
// FactsReader: asks the stages what the server tells of itself. EmbeddServer makes one, for /metrics, /info
// and GetServerInfo. It asks no device: what it says of one is what its thread published. Thread-safe.

#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "server/device/device_group.h"
#include "server/queue/bounded_queue.h"
#include "server/queue/places.h"
#include "server/rpc/answer_place.h"
#include "server/support/clock.h"
#include "server/telemetry/server_facts.h"
#include "server/telemetry/server_state.h"

namespace embedd {

class FactsReader {
 public:
  struct Options {
    Versions versions;
    int64_t max_batch = 0;  // inputs, as the operator allows
  };
  // All of them outlive this.
  struct Deps {
    const Clock* clock;
    const StateBoard* state;
    const PlaceBudget* budget;
    const PlaceBudget* waiting_room;
    const AnswerLedger* answers;
    const BoundedQueue* queue;
    const std::atomic<DeviceGroup*>* devices;  // null in it: they are not made yet
  };

  // The server's time runs from here.
  FactsReader(Options options, const Deps& deps)
      : options_(std::move(options)), deps_(deps), started_(deps.clock->TimeNow()) {}

  ServerFacts Read() const;
  const Versions& versions() const { return options_.versions; }

 private:
  const Options options_;
  const Deps deps_;
  const absl::Time started_;
};

}  // namespace embedd
