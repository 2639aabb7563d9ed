// SPDX-License-Identifier: Apache-2.0
//
// Batch: tasks chosen to run together, and what became of each attempt to run them.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "server/queue/embed_task.h"
#include "server/queue/finished_batch.h"
#include "server/release/batch_memory.h"

namespace embedd {

// All of one tower.
struct Batch {
  std::vector<EmbedTask> tasks;
};

// One run on the device: the whole batch, or a part of it after an out-of-memory.
struct Attempt {
  uint64_t id = 0;  // of its record
  int images = 0;
  int bucket = 0;
  absl::Duration took;
  BatchBytes bytes;
  bool out_of_memory = false;
  bool ok = false;
};

struct BatchReport {
  Tower tower = Tower::kImage;
  FinishedBatch finished;
  std::vector<Attempt> attempts;
  bool device_lost = false;
};

}  // namespace embedd
