// SPDX-License-Identifier: Apache-2.0

#include "server/config/device_list.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace embedd {
namespace {

constexpr int kMostOnCpu = 8;  // CountingCpuAllocator::kMost
constexpr int kMostCards = 64;

absl::Status Unknown(absl::string_view word) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", word,
                   "\" is not known; give auto, or one or several of mps, cuda, cuda:N and cpu, for "
                   "example cuda:0,cuda:1"));
}

absl::StatusOr<DeviceChoice> ParseOne(absl::string_view word) {
  DeviceChoice choice{.name = std::string(word)};
  absl::string_view kind = word;
  if (absl::StartsWith(word, "cuda:")) {
    kind = DeviceWord(DeviceKind::kCuda);
    const absl::string_view index = word.substr(5);
    if (!absl::SimpleAtoi(index, &choice.index) || absl::StrCat(choice.index) != index || choice.index < 0 ||
        choice.index >= kMostCards) {
      return Unknown(word);
    }
  }
  const std::optional<DeviceKind> known = ValueIn(kDeviceKinds, kind);
  if (!known.has_value()) return Unknown(word);
  choice.kind = *known;
  return choice;
}

}  // namespace

absl::StatusOr<std::vector<DeviceChoice>> ParseDeviceList(absl::string_view text) {
  std::vector<DeviceChoice> list;
  int on_cpu = 0;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    absl::StatusOr<DeviceChoice> choice = ParseOne(word);
    if (!choice.ok()) return choice.status();
    if (choice->kind == DeviceKind::kCpu) {
      choice->index = on_cpu++;
    } else {
      for (const DeviceChoice& before : list) {
        if (before.kind == choice->kind && before.index == choice->index) {
          return absl::InvalidArgumentError(absl::StrCat("\"", word, "\" is there twice"));
        }
      }
    }
    list.push_back(*std::move(choice));
  }
  const bool has_auto = std::any_of(list.begin(), list.end(),
                                    [](const DeviceChoice& d) { return d.kind == DeviceKind::kAuto; });
  if (has_auto && list.size() > 1) return absl::InvalidArgumentError("auto stands alone");
  if (on_cpu > kMostOnCpu) {
    return absl::InvalidArgumentError(absl::StrCat("cpu is there ", on_cpu, " times; at most ", kMostOnCpu));
  }
  if (on_cpu > 1) {
    for (DeviceChoice& choice : list) {
      if (choice.kind == DeviceKind::kCpu) choice.name = absl::StrCat("cpu:", choice.index);
    }
  }
  return list;
}

}  // namespace embedd
