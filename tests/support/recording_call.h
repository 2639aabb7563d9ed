// SPDX-License-Identifier: Apache-2.0
//
// RecordingCall: a call that only writes down what it was told, and MakeTask: an image of it, ready for the
// queue. The first byte of the pixels tells FakeExecutor which image it is.

#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "server/queue/embed_task.h"
#include "server/support/mutex.h"

namespace embedd {

class RecordingCall final : public CallSink {
 public:
  struct Told {
    Answer answer;  // its row is copied out
    std::vector<float> row;
  };

  void OnAnswer(uint32_t index, Answer answer) override {
    MutexLock lock(&mu_);
    std::vector<float> row(answer.row.begin(), answer.row.end());
    answer.row = {};
    order_.push_back(index);
    told_[index].push_back({std::move(answer), std::move(row)});
  }

  int answers() const {
    MutexLock lock(&mu_);
    return static_cast<int>(order_.size());
  }
  // Indexes in the order they were answered.
  std::vector<uint32_t> order() const {
    MutexLock lock(&mu_);
    return order_;
  }
  // The only answer of an index. Throws when there is none, or more than one.
  Told told(uint32_t index) const {
    MutexLock lock(&mu_);
    const std::vector<Told>& all = told_.at(index);
    if (all.size() != 1) throw std::logic_error("answered more than once");
    return all[0];
  }
  Answer answer(uint32_t index) const { return told(index).answer; }

 private:
  mutable Mutex mu_;
  std::vector<uint32_t> order_ ABSL_GUARDED_BY(mu_);
  std::map<uint32_t, std::vector<Told>> told_ ABSL_GUARDED_BY(mu_);
};

struct TaskOptions {
  Lane lane = Lane::kInteractive;
  uint64_t flow = 1;
  absl::Time deadline = absl::InfiniteFuture();
  uint8_t byte = 0;
  Tower tower = Tower::kImage;
};

inline EmbedTask MakeTask(std::shared_ptr<CallSink> call, uint32_t index, const TaskOptions& options = {}) {
  EmbedTask task(std::move(call), index);
  task.pixels.reset(new uint8_t[3]{options.byte, 0, 0});
  task.tower = options.tower;
  task.lane = options.lane;
  task.flow = options.flow;
  task.deadline = options.deadline;
  return task;
}

}  // namespace embedd
