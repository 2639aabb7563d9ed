// SPDX-License-Identifier: Apache-2.0
//
// BatchLedger: the records of the last 1,024 device batches, for /batches, embedctl batches and the status
// page. Thread-safe: device threads add, others read.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/support/mutex.h"
#include "server/telemetry/tower.h"

namespace embedd {

// Allocated bytes of the device around one batch.
struct BatchBytes {
  int64_t before = 0;
  int64_t peak = 0;
  int64_t after = 0;

  // Given back at the end.
  int64_t released() const { return peak - after; }
  // Kept: must be 0.
  int64_t unreleased() const { return after > before ? after - before : 0; }
};

struct BatchRecord {
  uint64_t id = 0;   // BatchLedger::NextId
  int size = 0;      // images
  int bucket = 0;    // images the device computed: size and padding
  int requests = 0;  // calls that rode in it
  BatchBytes bytes;
  absl::Duration decode, queue, execute;  // the longest decode and wait of an image in it; time on the device
  std::string_view outcome =
      "ok";            // "ok", "oom_split", "oom_failed", "bad_output", "failed", "device_failed"
  std::string device;  // that ran it, as the label of the metrics
  Tower tower = Tower::kImage;
  // Trace ids of the calls that rode in it and have one, in hexadecimal digits; the first few.
  std::vector<std::string> trace_ids;
};

class BatchLedger {
 public:
  static constexpr size_t kCapacity = 1024;

  // For the next record: from 1, in the order begun, over all devices.
  uint64_t NextId() { return next_id_.fetch_add(1, std::memory_order_relaxed); }
  void Add(const BatchRecord& record);
  // The last `n` records, oldest first.
  std::vector<BatchRecord> Last(size_t n = kCapacity) const;

 private:
  std::atomic<uint64_t> next_id_{1};
  mutable Mutex mu_;
  std::deque<BatchRecord> records_ ABSL_GUARDED_BY(mu_);
};

// A JSON list, one object a record, with the keys of the contract.
std::string ToJson(const std::vector<BatchRecord>& records);

}  // namespace embedd
