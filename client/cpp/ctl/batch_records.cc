// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/batch_records.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cpp/ctl/common.h"
#include "nlohmann/json.hpp"

namespace embedd::ctl {
namespace {

int64_t Number(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number() ? it->get<int64_t>() : 0;
}

std::string Bytes(int64_t bytes) {
  return bytes < 0 ? "-" + BytesText(static_cast<uint64_t>(-bytes)) : BytesText(static_cast<uint64_t>(bytes));
}

BatchRecord FromJson(const nlohmann::json& object) {
  BatchRecord record{.id = static_cast<uint64_t>(Number(object, "id")),
                     .size = Number(object, "size"),
                     .bucket = Number(object, "bucket"),
                     .requests = Number(object, "requests"),
                     .before = Number(object, "before"),
                     .peak = Number(object, "peak"),
                     .after = Number(object, "after"),
                     .released = Number(object, "released"),
                     .outcome = "",
                     .decode_ns = Number(object, "decode_ns"),
                     .queue_ns = Number(object, "queue_ns"),
                     .execute_ns = Number(object, "execute_ns"),
                     .json = object.dump()};
  if (const auto it = object.find("outcome"); it != object.end() && it->is_string()) record.outcome = *it;
  return record;
}

}  // namespace

absl::StatusOr<std::vector<BatchRecord>> ParseBatchRecords(const std::string& body) {
  auto json = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) {
    const auto list =
        std::find_if(json.begin(), json.end(), [](const auto& value) { return value.is_array(); });
    if (list != json.end()) json = nlohmann::json(*list);
  }
  if (!json.is_array())
    return absl::InternalError("/batches did not answer with a JSON list; is this embedd's --http?");
  std::vector<BatchRecord> records;
  for (const auto& object : json) {
    if (object.is_object()) records.push_back(FromJson(object));
  }
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return records;
}

std::vector<std::string> BatchHeader() {
  return {"id",    "size",    "bucket", "calls", "outcome", "decode",
          "queue", "execute", "before", "took",  "kept",    "released"};
}

std::vector<std::string> Cells(const BatchRecord& r) {
  const auto time = [](int64_t ns) { return DurationText(absl::Nanoseconds(ns)); };
  return {absl::StrCat(r.id), absl::StrCat(r.size),     absl::StrCat(r.bucket),    absl::StrCat(r.requests),
          r.outcome,          time(r.decode_ns),        time(r.queue_ns),          time(r.execute_ns),
          Bytes(r.before),    Bytes(r.peak - r.before), Bytes(r.after - r.before), Bytes(r.released)};
}

}  // namespace embedd::ctl
