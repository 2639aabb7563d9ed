// SPDX-License-Identifier: Apache-2.0
//
// FinishedBatch: tasks that came back from the device, each with its answer. Goes from the scheduler to the
// reply stage.

#pragma once

#include <vector>

#include "server/queue/embed_task.h"

namespace embedd {

struct FinishedBatch {
  std::vector<EmbedTask> tasks;
  std::vector<Answer> answers;  // one per task; `row` points into `rows`
  std::vector<float> rows;      // [tasks, dimension]
};

}  // namespace embedd
