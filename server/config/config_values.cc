// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_values.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/config/byte_size.h"

namespace embedd::config_values {
namespace {

absl::Status OutOfRange(absl::string_view text, absl::string_view low, absl::string_view high,
                        absl::string_view zero_word) {
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is out of range; give ",
                                                 zero_word.empty() ? "" : absl::StrCat(zero_word, ", or "),
                                                 low, " to ", high));
}

using ParseSize = absl::StatusOr<int64_t> (*)(absl::string_view);
using FormatSize = std::string (*)(int64_t);

Flag Sized(Flag flag, int64_t Config::*member, int64_t low, int64_t high, absl::string_view zero_word,
           ParseSize parse, FormatSize format) {
  flag.set = [=](absl::string_view text, Config* config) -> absl::Status {
    if (!zero_word.empty() && text == zero_word) {
      config->*member = 0;
      return absl::OkStatus();
    }
    const absl::StatusOr<int64_t> size = parse(text);
    if (!size.ok()) return size.status();
    const bool zero_allowed = !zero_word.empty() && *size == 0;
    if (!zero_allowed && (*size < low || *size > high))
      return OutOfRange(text, format(low), format(high), zero_word);
    config->*member = *size;
    return absl::OkStatus();
  };
  flag.show = [=](const Config& config) {
    return config.*member == 0 && !zero_word.empty() ? std::string(zero_word) : format(config.*member);
  };
  return flag;
}

}  // namespace

Flag Text(Flag flag, std::string Config::*member) {
  flag.set = [=](absl::string_view text, Config* config) {
    config->*member = std::string(text);
    return absl::OkStatus();
  };
  flag.show = [=](const Config& config) { return config.*member; };
  return flag;
}

absl::Status UnknownWord(absl::string_view text, absl::string_view words) {
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not known; give ", words));
}

Flag Choice(Flag flag, std::string Config::*member, std::initializer_list<absl::string_view> choices) {
  flag = Text(std::move(flag), member);
  flag.set = [member, words = std::vector<absl::string_view>(choices)](absl::string_view text,
                                                                       Config* config) {
    for (const absl::string_view word : words) {
      if (text != word) continue;
      config->*member = std::string(text);
      return absl::OkStatus();
    }
    return UnknownWord(text, absl::StrCat("one of ", absl::StrJoin(words, ", ")));
  };
  return flag;
}

Flag Integer(Flag flag, int Config::*member, int low, int high, absl::string_view zero_word) {
  flag.set = [=](absl::string_view text, Config* config) {
    int value = 0;
    if (!zero_word.empty() && text == zero_word) {
      config->*member = 0;
      return absl::OkStatus();
    }
    if (!absl::SimpleAtoi(text, &value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", text, "\" is not a whole number; give ",
                       zero_word.empty() ? "" : absl::StrCat(zero_word, ", or "), low, " to ", high));
    }
    const bool zero_allowed = !zero_word.empty() && value == 0;
    if (!zero_allowed && (value < low || value > high)) {
      return OutOfRange(text, absl::StrCat(low), absl::StrCat(high), zero_word);
    }
    config->*member = value;
    return absl::OkStatus();
  };
  flag.show = [=](const Config& config) {
    return config.*member == 0 && !zero_word.empty() ? std::string(zero_word) : absl::StrCat(config.*member);
  };
  return flag;
}

Flag Number(Flag flag, double Config::*member, double low, double high) {
  flag.set = [=](absl::string_view text, Config* config) {
    double value = 0;
    if (!absl::SimpleAtod(text, &value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", text, "\" is not a number; give ", low, " to ", high));
    }
    if (!(value >= low && value <= high)) return OutOfRange(text, absl::StrCat(low), absl::StrCat(high), "");
    config->*member = value;
    return absl::OkStatus();
  };
  flag.show = [=](const Config& config) { return absl::StrCat(config.*member); };
  return flag;
}

Flag Bytes(Flag flag, int64_t Config::*member, int64_t low, int64_t high, absl::string_view zero_word) {
  return Sized(std::move(flag), member, low, high, zero_word, ParseByteSize, FormatByteSize);
}

Flag Pixels(Flag flag, int64_t Config::*member, int64_t low, int64_t high) {
  return Sized(std::move(flag), member, low, high, "", ParsePixels, FormatPixels);
}

Flag Time(Flag flag, absl::Duration Config::*member, absl::Duration low, absl::Duration high) {
  flag.set = [=](absl::string_view text, Config* config) {
    absl::Duration value;
    if (text == "off") {
      value = absl::ZeroDuration();
    } else if (!absl::ParseDuration(std::string(text), &value)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", text, "\" is not a time; write a number with a unit, for example 200ms, 30s or 5m, or off"));
    }
    if (value != absl::ZeroDuration() && (value < low || value > high)) {
      return OutOfRange(text, absl::FormatDuration(low), absl::FormatDuration(high), "0");
    }
    config->*member = value;
    return absl::OkStatus();
  };
  flag.show = [=](const Config& config) {
    return config.*member == absl::ZeroDuration() ? std::string("off") : absl::FormatDuration(config.*member);
  };
  return flag;
}

absl::Status ReadBool(absl::string_view text, bool* out) {
  const std::string word = absl::AsciiStrToLower(text);
  const bool yes = word == "true" || word == "on" || word == "yes" || word == "1";
  if (!yes && word != "false" && word != "off" && word != "no" && word != "0") {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not a switch; give true or false"));
  }
  *out = yes;
  return absl::OkStatus();
}

Flag Switch(Flag flag, bool Config::*member) {
  flag.kind = Flag::Kind::kSwitch;
  flag.set = [=](absl::string_view text, Config* config) { return ReadBool(text, &(config->*member)); };
  flag.show = [=](const Config& config) { return std::string(config.*member ? "true" : "false"); };
  return flag;
}

}  // namespace embedd::config_values
