// SPDX-License-Identifier: Apache-2.0

#include "server/model/json_reader.h"

#include <cmath>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/support/log.h"

namespace embedd {

using nlohmann::json;

std::string Printable(absl::string_view name) {
  constexpr size_t kLongest = 120;
  if (name.size() <= kLongest) return absl::Utf8SafeCHexEscape(name);
  return absl::StrCat(absl::Utf8SafeCHexEscape(name.substr(0, kLongest)), "...");
}

bool IsBareName(absl::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(absl::string_view("/\\\0", 3)) == absl::string_view::npos;
}

absl::StatusOr<json> ParseJson(absl::string_view text, absl::string_view file, int max_depth) {
  std::string problem;
  std::vector<std::set<std::string>> open;  // keys seen, per open object or array
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (depth >= max_depth && problem.empty()) problem = "nested too deeply";
        open.emplace_back();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        open.pop_back();
        break;
      case json::parse_event_t::key:
        if (!open.back().insert(parsed.get<std::string>()).second && problem.empty()) {
          problem = absl::StrCat("key \"", Printable(parsed.get<std::string>()), "\" is there twice");
        }
        break;
      case json::parse_event_t::value:
        break;
    }
    return true;
  };
  json parsed = json::parse(text.begin(), text.end(), check, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return absl::InvalidArgumentError(absl::StrCat(file, ": is not valid JSON"));
  if (!problem.empty()) return absl::InvalidArgumentError(absl::StrCat(file, ": ", problem));
  return parsed;
}

JsonReader::JsonReader(const json& object, std::string file, std::string path)
    : object_(object), file_(std::move(file)), path_(std::move(path)) {
  if (object_.is_object()) return;
  const absl::string_view where = path_.empty() ? absl::string_view("the top level") : path_;
  status_ = absl::InvalidArgumentError(absl::StrCat(file_, ": ", where, ": must be an object"));
}

const json* JsonReader::Find(absl::string_view key) {
  known_.emplace(key);
  if (!object_.is_object()) return nullptr;
  const auto it = object_.find(std::string(key));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

int64_t JsonReader::Int(absl::string_view key, int64_t fallback, int64_t min, int64_t max) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  // 12.0 is an int to Python's json users as well, but open_clip would fail on it later: refuse it here.
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<uint64_t>() <= uint64_t{INT64_MAX});
  if (fits && value->get<int64_t>() >= min && value->get<int64_t>() <= max) return value->get<int64_t>();
  Fail(key,
       absl::StrCat("must be a whole number from ", min, " to ", max, ", is ", Printable(value->dump())));
  return fallback;
}

double JsonReader::Number(absl::string_view key, double fallback, double min, double max) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_number() && value->get<double>() >= min && value->get<double>() <= max)
    return value->get<double>();
  Fail(key, absl::StrCat("must be a number from ", min, " to ", max, ", is ", Printable(value->dump())));
  return fallback;
}

bool JsonReader::Bool(absl::string_view key, bool fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  Fail(key, absl::StrCat("must be true or false, is ", Printable(value->dump())));
  return fallback;
}

std::string JsonReader::String(absl::string_view key, absl::string_view fallback) {
  const json* value = Find(key);
  if (value == nullptr) return std::string(fallback);
  if (value->is_string()) return value->get<std::string>();
  Fail(key, absl::StrCat("must be a string, is ", Printable(value->dump())));
  return std::string(fallback);
}

void JsonReader::Channels(absl::string_view key, bool positive, std::array<float, 3>* out) {
  const json* value = Find(key);
  if (value == nullptr) return;
  const bool one = value->is_number();
  bool good = one || (value->is_array() && value->size() == 3);
  for (size_t c = 0; good && c < 3; ++c) {
    const json& channel = one ? *value : (*value)[c];
    good = channel.is_number() && std::abs(channel.get<double>()) < 1e6 &&
           (!positive || channel.get<double>() > 0);
    if (good) (*out)[c] = channel.get<float>();
  }
  if (!good) Fail(key, absl::StrCat("must be a ", positive ? "positive " : "", "number, or a list of three"));
}

void JsonReader::Ignore(std::initializer_list<absl::string_view> keys) {
  for (absl::string_view key : keys) known_.emplace(key);
}

void JsonReader::Fail(absl::string_view key, absl::string_view message, absl::StatusCode code) {
  if (!status_.ok()) return;
  status_ =
      absl::Status(code, absl::StrCat(file_, ": ", path_, path_.empty() ? "" : ".", key, ": ", message));
}

absl::Status JsonReader::FinishPassingOver() {
  if (!object_.is_object()) return status_;
  for (const auto& item : object_.items()) {
    if (known_.find(item.key()) != known_.end()) continue;
    LogWarn("a key is not known and passed over, as the model's own library does",
            {{"file", file_}, {"key", absl::StrCat(path_, path_.empty() ? "" : ".", Printable(item.key()))}});
  }
  return status_;
}

absl::Status JsonReader::Finish() {
  if (!object_.is_object()) return status_;
  for (const auto& item : object_.items()) {
    if (known_.find(item.key()) == known_.end()) Fail(Printable(item.key()), "unknown key");
  }
  return status_;
}

}  // namespace embedd
