// SPDX-License-Identifier: Apache-2.0
//
// The answer of /batches, read and turned into cells of a table.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace embedd::ctl {

// One device batch. Bytes are allocated bytes of the device; after <= before <= peak.
struct BatchRecord {
  uint64_t id = 0;
  int64_t size = 0, bucket = 0, requests = 0;
  int64_t before = 0, peak = 0, after = 0, released = 0;
  std::string outcome;
  int64_t decode_ns = 0, queue_ns = 0, execute_ns = 0;
  std::string json;  // as the server wrote it
};

// Sorted by id. `body` is a JSON list, or an object that holds one. A key that is missing counts as zero.
// Errors: INTERNAL when it is neither.
absl::StatusOr<std::vector<BatchRecord>> ParseBatchRecords(const std::string& body);

std::vector<std::string> BatchHeader();
std::vector<std::string> Cells(const BatchRecord& record);

}  // namespace embedd::ctl
