// SPDX-License-Identifier: Apache-2.0

#include "server/reply/reply_stage.h"

#include <utility>

#include "server/support/process.h"

namespace embedd {

ReplyStage::ReplyStage(Clock* clock, Metrics* metrics)
    : clock_(clock), metrics_(metrics), thread_([this] { Loop(); }) {}

ReplyStage::~ReplyStage() { Stop(); }

void ReplyStage::Send(FinishedBatch batch) {
  MutexLock lock(&mu_);
  batches_.push_back(std::move(batch));
  wake_.Signal();
}

void ReplyStage::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    wake_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

void ReplyStage::Loop() {
  SetThreadName("reply");
  while (true) {
    FinishedBatch batch;
    {
      MutexLock lock(&mu_);
      while (batches_.empty() && !stopping_) wake_.Wait(&mu_);
      if (batches_.empty()) return;
      batch = std::move(batches_.front());
      batches_.pop_front();
    }
    const absl::Time start = clock_->TimeNow();
    DeliverAnswers(std::move(batch));
    metrics_->ObserveStage(Stage::kReply, clock_->TimeNow() - start);
  }
}

}  // namespace embedd
