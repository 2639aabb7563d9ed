// SPDX-License-Identifier: Apache-2.0
//
// FinishedBatch: tasks that came back from the device, or never got there, each with its answer. Goes from
// the device's thread to the reply stage.

#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "server/queue/embed_task.h"

namespace embedd {

struct FinishedBatch {
  std::vector<EmbedTask> tasks;
  std::vector<Answer> answers;  // one per task; `row` points into `rows`
  std::vector<float> rows;      // [tasks, dimension]
};

// Gives each task its answer, in order.
inline void DeliverAnswers(FinishedBatch batch) {
  for (size_t i = 0; i < batch.tasks.size(); ++i) batch.tasks[i].Finish(std::move(batch.answers[i]));
}

}  // namespace embedd
