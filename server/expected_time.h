// SPDX-License-Identifier: Apache-2.0
//
// How long a call takes from now to its answer, by what the threads that prepare inputs and the devices know.
// Admission refuses by it who cannot be in time, tells the others when a retry is worth it, and balancers how
// busy the server is.

#pragma once

#include "absl/time/time.h"
#include "server/device/device_group.h"
#include "server/prepare/prepare_pool.h"
#include "server/rpc/road.h"

namespace embedd {

// Zero while nothing was measured.
absl::Duration ExpectedTime(const DeviceGroup& devices, const PreparePool& prepare, const Work& more);

}  // namespace embedd
