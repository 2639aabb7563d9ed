// SPDX-License-Identifier: Apache-2.0
//
// DeviceKind: what a model can run on, the one table of the words for it. Read by flags, main, the engine and
// the memory of a device.

#pragma once

#include "absl/strings/string_view.h"
#include "server/support/word_table.h"

namespace embedd {

enum class DeviceKind : unsigned char { kAuto, kMps, kCuda, kCpu };

struct DeviceKindRow {
  DeviceKind value;
  absl::string_view word;
};

// In the order in which auto, which stands in flags only, looks for them.
inline constexpr DeviceKindRow kDeviceKinds[] = {{DeviceKind::kAuto, "auto"},
                                                 {DeviceKind::kMps, "mps"},
                                                 {DeviceKind::kCuda, "cuda"},
                                                 {DeviceKind::kCpu, "cpu"}};

constexpr absl::string_view DeviceWord(DeviceKind kind) { return RowIn(kDeviceKinds, kind).word; }

}  // namespace embedd
