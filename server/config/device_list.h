// SPDX-License-Identifier: Apache-2.0
//
// The value of --device: one device or several.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/telemetry/device_kind.h"

namespace embedd {

struct DeviceChoice {
  DeviceKind kind = DeviceKind::kAuto;
  int index = 0;     // of the card on cuda; on cpu a number of its own
  std::string name;  // in metrics, records and logs: "cpu", "cuda", "cuda:1"; "cpu:0" where there are several
};

// auto alone, or a list of mps, cuda, cuda:N and cpu, separated by commas. cpu may stand there several times:
// each is a device of its own with its own threads and weights. kInvalidArgument for anything else.
absl::StatusOr<std::vector<DeviceChoice>> ParseDeviceList(absl::string_view text);

}  // namespace embedd
