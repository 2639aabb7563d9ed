// SPDX-License-Identifier: Apache-2.0

#include "server/release/batch_memory.h"

#include <algorithm>

namespace embedd {

BatchMemory::BatchMemory(DeviceMemory* memory) : memory_(memory) {
  memory_->ResetPeak();
  before_ = memory_->Read().allocated;
}

BatchBytes BatchMemory::End() {
  const MemoryReading reading = memory_->Read();
  return {.before = before_,
          .peak = std::max({reading.peak, before_, reading.allocated}),
          .after = reading.allocated};
}

}  // namespace embedd
