// SPDX-License-Identifier: Apache-2.0

#include "server/batching/cap_controller.h"

#include <algorithm>

namespace embedd {

CapController::CapController(Options options)
    : options_(options),
      ladder_(options.max_batch),
      time_(ladder_, options.padded),
      oom_cap_(ladder_.largest()),
      regrow_after_(options.regrow_after) {
  Update();
}

void CapController::OnBatch(int n, int bucket, absl::Duration took, const BatchBytes& bytes) {
  time_.Add(options_.padded ? bucket : n, took);
  memory_.Add(bucket, bytes.peak - bytes.before);
  Update();
  const int before = oom_cap_;
  GrowAfterClean(bucket);
  if (oom_cap_ != before) Update();
}

void CapController::GrowAfterClean(int bucket) {
  const bool settled = oom_cap_ == ladder_.largest() && !grew_;
  if (settled || bucket < cap_.images || ++clean_ < regrow_after_) return;
  if (grew_) {  // the size it grew to has proven itself
    grew_ = false;
    regrow_after_ = options_.regrow_after;
  }
  if (oom_cap_ == ladder_.largest() || MemoryCap() <= oom_cap_) return;
  clean_ = 0;
  grew_ = true;
  oom_cap_ = ladder_.Next(oom_cap_);
}

void CapController::OnOutOfMemory(int bucket) {
  // A failure after growing means the size is too large for now: try it again less often. The halves of a
  // batch that fail one after the other on the way down are no such sign.
  if (grew_) regrow_after_ = std::min(regrow_after_ * 2, options_.regrow_after_most);
  grew_ = false;
  oom_cap_ = std::min(oom_cap_, ladder_.Down(bucket / 2));
  clean_ = 0;
  Update();
}

void CapController::OnMemory(int64_t limit, int64_t baseline) {
  if (limit == limit_ && baseline == baseline_) return;
  limit_ = limit;
  baseline_ = baseline;
  Update();
}

int CapController::MemoryCap() const {
  if (limit_ <= 0) return ladder_.largest();
  const double usable = static_cast<double>(limit_) * (1 - options_.memory_margin);
  return ladder_.Down(memory_.LargestFitting(static_cast<int64_t>(usable) - baseline_, ladder_.largest()));
}

int CapController::LargestWithin(absl::Duration target) const {
  int largest = ladder_.rungs().front();
  for (const int rung : ladder_.rungs()) {
    if (time_.Predict(rung) > target) break;
    largest = rung;
  }
  return largest;
}

void CapController::Update() {
  Cap cap{.images = ladder_.largest(), .bulk = ladder_.largest(), .set_by = "max_batch"};
  const auto limit_to = [&cap](int images, int bulk, std::string_view set_by) {
    if (images < cap.images) cap.set_by = set_by;
    cap.images = std::min(cap.images, images);
    cap.bulk = std::min(cap.bulk, bulk);
  };
  if (options_.latency_target > absl::ZeroDuration()) {
    const int within = LargestWithin(options_.latency_target);
    const int efficient = std::min(ladder_.Down(options_.efficient_batch),
                                   LargestWithin(options_.latency_target * options_.efficient_slack));
    limit_to(std::max(within, efficient), within, "latency");
  }
  const int memory = MemoryCap();
  limit_to(memory, memory, "memory");
  limit_to(oom_cap_, oom_cap_, "oom");
  cap_ = cap;
}

}  // namespace embedd
