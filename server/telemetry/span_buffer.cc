// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/span_buffer.h"

#include <algorithm>
#include <iterator>

namespace embedd {

void SpanBuffer::Add(CallSpan span) {
  {
    MutexLock lock(&mu_);
    if (!stopped_ && spans_.size() < options_.capacity) {
      spans_.push_back(span);
      if (spans_.size() == 1 || spans_.size() == options_.batch) changed_.SignalAll();
      return;
    }
  }
  metrics_->CountSpans("dropped", 1);
}

std::vector<CallSpan> SpanBuffer::Take(absl::Duration linger) {
  MutexLock lock(&mu_);
  while (spans_.empty() && !stopped_) changed_.Wait(&mu_);
  if (!stopped_ && spans_.size() < options_.batch) changed_.WaitFor(&mu_, linger);
  const auto end = spans_.begin() + static_cast<std::ptrdiff_t>(std::min(options_.batch, spans_.size()));
  std::vector<CallSpan> taken(std::make_move_iterator(spans_.begin()), std::make_move_iterator(end));
  spans_.erase(spans_.begin(), end);
  return taken;
}

void SpanBuffer::Stop() {
  MutexLock lock(&mu_);
  stopped_ = true;
  changed_.SignalAll();
}

}  // namespace embedd
