// SPDX-License-Identifier: Apache-2.0
//
// PendingCall: a call while its inputs are on the road. Collects the answers, packs rows where they belong
// and calls `done` once: when the last input is answered, or at once when the call fails as a whole (its
// deadline passed, the device was lost, a bug). Answers that come later are only counted. Thread-safe. Counts
// every input in images_total, once.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/queue/embed_task.h"
#include "server/reply/row_packer.h"
#include "server/support/mutex.h"
#include "server/telemetry/metrics.h"

namespace embedd {

// One input that failed while its call went on.
struct InputFailure {
  uint32_t index = 0;
  absl::Status status;
  Reason reason = Reason::kNone;
};

struct CallTiming {
  absl::Duration decode, queue, execute;  // the longest of any input
  uint32_t largest_batch = 0;
  uint32_t batches = 0;
};

struct CallResult {
  absl::Status status;                 // of the call as a whole
  Reason reason = Reason::kNone;       // when not OK
  std::string data;                    // [inputs, dimension]; rows of failed inputs are zero
  std::vector<InputFailure> failures;  // by index
  CallTiming timing;
};

class PendingCall final : public CallSink {
 public:
  struct Options {
    uint32_t inputs = 1;
    int dimension = 0;
    RowEncoding encoding = RowEncoding::kFloat32;
    bool normalize = true;
    std::optional<TraceContext> trace;
  };
  using Done = std::function<void(CallResult)>;

  // `done` is called once, from whichever thread ends the call, with no lock held.
  PendingCall(Options options, Metrics* metrics, Done done);

  void OnAnswer(uint32_t index, Answer answer) override;

  // `done` is called now unless it was already; answers that come later are only counted.
  void Fail(absl::Status status, Reason reason) override;
  // The caller went away: `done` is called now with CANCELLED unless it was already.
  void Cancel();

 private:
  void Finish(absl::Status status, Reason reason);
  // The rows, made with the first vector: a call waits for long, and many get none.
  char* Rows();
  size_t AllRowBytes() const;

  const Options options_;
  Metrics* const metrics_;
  std::string data_;  // empty before the first vector; each index writes its own row

  Mutex mu_;
  Done done_ ABSL_GUARDED_BY(mu_);  // null once called
  uint32_t unanswered_ ABSL_GUARDED_BY(mu_);
  bool failed_ ABSL_GUARDED_BY(mu_) = false;  // as a whole: whoever answers last must not end it well
  std::vector<InputFailure> failures_ ABSL_GUARDED_BY(mu_);
  CallTiming timing_ ABSL_GUARDED_BY(mu_);
  std::vector<uint64_t> batch_ids_ ABSL_GUARDED_BY(mu_);  // distinct; a call rides in few
};

}  // namespace embedd
