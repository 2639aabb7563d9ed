// SPDX-License-Identifier: Apache-2.0

#include "server/expected_time.h"

#include <algorithm>

namespace embedd {

absl::Duration ExpectedTime(const DeviceGroup& devices, const PreparePool& prepare, const Work& more) {
  const absl::Duration device = devices.ExpectedTime(more.lane, more.inputs, prepare.counts());
  const absl::Duration preparing = prepare.ExpectedTime(more.lane, more.prepare);
  if (preparing == absl::ZeroDuration()) return device;
  // Where both share the processor they take it from each other.
  if (devices.devices().front()->is_processor()) return preparing + device;
  // Elsewhere both work at the same time: what is longer counts, and the last batch, which begins when its
  // last input is prepared.
  return std::max(device, preparing + std::min(device, devices.ExpectedBatchTime(more.inputs)));
}

}  // namespace embedd
