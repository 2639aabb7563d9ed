// SPDX-License-Identifier: Apache-2.0
//
// SpanBuffer: sampled calls that have ended, until somebody sends them away (ops/otlp_exporter). Bounded:
// what finds no room is dropped and counted, and no call ever waits here. Thread-safe.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/support/mutex.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/trace.h"

namespace embedd {

// A call as a trace shows it.
struct CallSpan {
  TraceContext trace;
  std::string_view method;  // as metrics name it, e.g. "EmbedBatch"; lives for ever
  absl::Time start, end;    // in the buffer: by the time of day
  int code = 0;             // of gRPC
  int64_t inputs = 0;
  absl::Duration decode, queue, execute;  // the longest of any input; of a stream not known
  uint32_t batches = 0, largest_batch = 0;
};

class SpanBuffer {
 public:
  struct Options {
    size_t capacity = 4096;  // calls
    size_t batch = 512;      // given at once, at most
  };

  SpanBuffer(Options options, Metrics* metrics) : options_(options), metrics_(metrics) {}

  void Add(CallSpan span);
  // Waits until there is one, and then up to `linger` for a batch; gives the oldest. None: stopped, and all
  // were given.
  std::vector<CallSpan> Take(absl::Duration linger);
  // From now on Take waits for nothing, and Add drops.
  void Stop();

 private:
  const Options options_;
  Metrics* const metrics_;
  Mutex mu_;
  CondVar changed_;
  std::deque<CallSpan> spans_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace embedd
