// SPDX-License-Identifier: Apache-2.0
//
// Which device and number type the model runs on. Used by main and TorchExecutor; the header does not see
// LibTorch.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/model/tower_config.h"
#include "server/telemetry/device_kind.h"
#include "server/telemetry/dtype.h"

namespace embedd {

// OK when `device` can be used here. Loads LibTorch's CUDA libraries when asked
// about cuda on a machine that has an NVIDIA driver, never otherwise; so call it before any other use of
// LibTorch. kNotFound says what is missing.
absl::Status DeviceAvailable(DeviceKind device);

// `device` itself, or for kAuto the first of mps, cuda and cpu that is available. Errors as DeviceAvailable.
absl::StatusOr<DeviceKind> ResolveDevice(DeviceKind device);

// kInvalidArgument, with what to use instead, when `dtype` is int8 and `device` is not cpu or the processor
// does not multiply bytes.
absl::Status CheckDtype(Dtype dtype, DeviceKind device, bool cpu_multiplies_int8);

// `dtype` itself, or for kAuto the type that is fastest where that costs no
// accuracy to speak of: f16 on mps and cuda; on cpu f32, unless the processor has AMX for bf16 and a block
// of such a tower, of width 512 or more, measured in both, is twice as fast in bf16.
absl::StatusOr<Dtype> ResolveDtype(Dtype dtype, DeviceKind device, const TowerConfig& config);

// Of the library that is loaded, such as "2.13.0"; a package manager may replace it under a built server.
std::string LibTorchVersion();

// kFailedPrecondition, with the reason, when the loaded library is older than 2.13, or another minor version
// than the one this program was built with: LibTorch has no stable C++ interface.
absl::Status CheckLibTorch();
struct LibTorchRelease {
  int major, minor, patch;
};
absl::Status CheckLibTorchVersions(LibTorchRelease built, LibTorchRelease loaded);

}  // namespace embedd
