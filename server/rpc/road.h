// SPDX-License-Identifier: Apache-2.0
//
// Road: what the handlers of a call need from the rest of the server. Filled once by EmbeddServer; everything
// in it outlives the gRPC server. Plain data.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/time/time.h"
#include "server/model/model_spec.h"
#include "server/prepare/prepare_pool.h"
#include "server/prepare/preparer.h"
#include "server/queue/bounded_queue.h"
#include "server/queue/places.h"
#include "server/rpc/answer_place.h"
#include "server/rpc/auth.h"
#include "server/rpc/live_count.h"
#include "server/rpc/load_report.h"
#include "server/support/clock.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/server_state.h"
#include "server/telemetry/span_buffer.h"

namespace embedd {

struct RequestLimits {
  int64_t max_message_bytes = int64_t{64} << 20;
  int max_inputs = 1024;
  int64_t max_image_bytes = int64_t{32} << 20;
  int64_t max_pixels = 64'000'000;
  FormatSet formats;
};

// What a call asks for.
struct Work {
  PerTower<int> inputs;
  absl::Duration prepare;  // on one thread
  Lane lane = Lane::kInteractive;

  int all() const { return inputs[Tower::kImage] + inputs[Tower::kText]; }
};

struct Road {
  RequestLimits limits;
  Clock* clock = nullptr;
  Metrics* metrics = nullptr;
  StateBoard* state = nullptr;
  const TokenCheck* tokens = nullptr;
  PlaceBudget* budget = nullptr;
  BoundedQueue* queue = nullptr;
  PreparePool* prepare = nullptr;
  const PrepareCost* prepare_cost = nullptr;
  // The model; set before the state becomes READY, null before.
  std::atomic<const ModelSpec*> model{nullptr};
  // How long `more` would take from now to its answer; zero while not known.
  std::function<absl::Duration(const Work& more)> expected_time;
  // Calls that came through any door and are not finished: a drain waits for them.
  LiveCount live_calls;
  // Messages of streams that are read and wait for a place in `budget`. Null: there is no bound (tests).
  PlaceBudget* waiting_room = nullptr;
  // What answers hold of `budget`, by connection.
  AnswerLedger answers;
  // Inputs that were answered, a second.
  RateMeter* answered = nullptr;
  // Sampled calls go here when they end. Null: there is no collector.
  SpanBuffer* spans = nullptr;
};

}  // namespace embedd
