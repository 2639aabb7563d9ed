// SPDX-License-Identifier: Apache-2.0
//
// JsonReader: reads the keys of one JSON object and remembers the first thing that is wrong with it, so that
// reading code stays a straight list of keys. Every message names the file and the key. Used by the model
// folder readers; never included by a file that sees LibTorch.

#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

// Parses text from a file. Refuses duplicate keys and nesting deeper than `max_depth`, which JSON itself
// allows. Errors: kInvalidArgument, starting with `file`.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, absl::string_view file, int max_depth = 16);

// A key or tensor name from a file, fit for a message: escaped, and cut when it is long.
std::string Printable(absl::string_view name);

// Whether a name in a file can only mean something beside it: no folders, no way out of this one.
bool IsBareName(absl::string_view name);

class JsonReader {
 public:
  // Reads `object`, which lies at `path` (e.g. "model_cfg.vision_cfg"; empty: the top) in `file`. Anything
  // but an object is an error. `object` must outlive the reader.
  JsonReader(const nlohmann::json& object, std::string file, std::string path = "");

  // The value of `key`, which is known from now on; null and absent are nullptr.
  const nlohmann::json* Find(absl::string_view key);

  // The value of `key`, or `fallback` when it is absent or wrong (then the error is kept).
  int64_t Int(absl::string_view key, int64_t fallback, int64_t min, int64_t max);
  double Number(absl::string_view key, double fallback, double min, double max);
  bool Bool(absl::string_view key, bool fallback);
  std::string String(absl::string_view key, absl::string_view fallback);

  // Three numbers, one for each channel, or one for all; `out` stays as it is where the key is absent or
  // wrong.
  void Channels(absl::string_view key, bool positive, std::array<float, 3>* out);

  // Keys that may be there and mean nothing for the image tower.
  void Ignore(std::initializer_list<absl::string_view> keys);

  // Keeps the first error. The message becomes "FILE: PATH.KEY: MESSAGE".
  void Fail(absl::string_view key, absl::string_view message,
            absl::StatusCode code = absl::StatusCode::kInvalidArgument);

  // The first error so far.
  const absl::Status& status() const { return status_; }
  // The first error, or the first key that nobody asked for.
  absl::Status Finish();
  // The first error; what nobody asked for is warned of: the library does not look at it.
  absl::Status FinishPassingOver();

 private:
  const nlohmann::json& object_;
  const std::string file_;
  const std::string path_;
  std::set<std::string, std::less<>> known_;
  absl::Status status_;
};

}  // namespace embedd
