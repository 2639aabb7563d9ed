// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/batch_ledger.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace embedd {

void BatchLedger::Add(const BatchRecord& record) {
  MutexLock lock(&mu_);
  records_.push_back(record);
  if (records_.size() > kCapacity) records_.pop_front();
}

std::vector<BatchRecord> BatchLedger::Last(size_t n) const {
  MutexLock lock(&mu_);
  return {records_.end() - static_cast<std::ptrdiff_t>(std::min(n, records_.size())), records_.end()};
}

std::string ToJson(const std::vector<BatchRecord>& records) {
  std::string json = "[";
  for (const BatchRecord& r : records) {
    absl::StrAppend(&json, json.size() > 1 ? ",\n " : "\n ", "{\"id\": ", r.id, ", \"size\": ", r.size,
                    ", \"bucket\": ", r.bucket, ", \"requests\": ", r.requests, ", \"tower\": \"",
                    TowerName(r.tower), "\", \"device\": \"", r.device, "\"",
                    ", \"before\": ", r.bytes.before, ", \"peak\": ", r.bytes.peak,
                    ", \"after\": ", r.bytes.after);
    absl::StrAppend(&json, ", \"released\": ", r.bytes.released(), ", \"unreleased\": ", r.bytes.unreleased(),
                    ", \"outcome\": \"", std::string(r.outcome),
                    "\", \"decode_ns\": ", absl::ToInt64Nanoseconds(r.decode),
                    ", \"queue_ns\": ", absl::ToInt64Nanoseconds(r.queue),
                    ", \"execute_ns\": ", absl::ToInt64Nanoseconds(r.execute), ", \"trace_ids\": [");
    for (const std::string& id : r.trace_ids)
      absl::StrAppend(&json, &id == &r.trace_ids.front() ? "\"" : ", \"", id, "\"");
    absl::StrAppend(&json, "]}");
  }
  absl::StrAppend(&json, json.size() > 1 ? "\n]\n" : "]\n");
  return json;
}

}  // namespace embedd
