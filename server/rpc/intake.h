// SPDX-License-Identifier: Apache-2.0
//
// Intake: takes inputs whose places are reserved through the decode pool into the queue. Shared by EmbedBatch
// and EmbedStream. Runs on gRPC threads (Start) and decode threads (the rest).

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "embedd/v1/embedding_service.pb.h"
#include "server/queue/embed_task.h"
#include "server/rpc/road.h"

namespace embedd {

// The places of a call's inputs while they wait for a decode thread. Clear gives them back at once when the
// caller goes away, without waiting for the pool to reach them. Thread-safe.
class PlaceShelf {
 public:
  // Places for inputs 0 … bytes.size() - 1, split off `all`; an input with negative bytes has none.
  PlaceShelf(Places all, const std::vector<int64_t>& bytes);

  // The place of one input; nothing when it was given back, or taken before.
  std::optional<Places> Take(size_t index);
  void Clear();

 private:
  Mutex mu_;
  std::vector<std::optional<Places>> places_ ABSL_GUARDED_BY(mu_);
};

struct IntakeItem {
  std::shared_ptr<v1::Input> input;  // its content is freed as soon as it is decoded
  std::shared_ptr<CallSink> call;
  uint32_t index = 0;
  Lane lane = Lane::kInteractive;
  uint64_t flow = 0;
  absl::Time deadline = absl::InfiniteFuture();
  std::shared_ptr<PlaceShelf> shelf;
  size_t shelf_index = 0;
};

// Bytes that an input takes on the road: its content until it is decoded, and its pixels.
int64_t RoadBytes(const v1::Input& input, const ModelSpec& model);
// Bytes of one prepared image: uint8 [3, height, width].
int64_t PixelBytes(const ModelSpec& model);

// Decodes, resizes and queues the input; answers it instead when it is bad, its call is dead or its deadline
// passed.
void StartIntake(Road* road, IntakeItem item);

}  // namespace embedd
