// SPDX-License-Identifier: Apache-2.0
//
// Executor: a model on a device. TorchExecutor is the real one, FakeExecutor the scriptable one.
// Every method is called by the device thread only, one at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/release/device_memory.h"
#include "server/telemetry/tower.h"

namespace embedd {

// How near int8 comes to f32, over pictures that it was not calibrated with.
struct Int8Accuracy {
  double least_cosine = 1, mean_cosine = 1;
};

class Executor {
 public:
  virtual ~Executor() = default;

  // Puts the weights of a tower on the device. OK when they are there already. kResourceExhausted when they
  // do not fit; kUnimplemented for a tower that the model has not got.
  virtual absl::Status Load(Tower tower) = 0;
  // Takes all weights off the device; Load brings them back without reading the disk again where memory
  // allows.
  virtual absl::Status Offload() = 0;
  // True from a Load of the tower that went well to the next Offload.
  virtual bool loaded(Tower tower) const = 0;

  // Embeds `inputs` in one device batch of one tower, which is loaded.
  //   inputs   n >= 1 prepared inputs: an image is uint8 [3, height, width] planar RGB, as ImageSpec says, or
  //            a PatchGrid and such planes, where each has a size of its own; a text is int32 token ids
  //            [context length], as bytes, padded as the model wants it
  //   bucket   >= n: the batch is padded to so many inputs where the device needs fixed shapes
  //   rows     out, float [n, dimension], not normalised, as the tower gives them
  // Errors: kResourceExhausted: the device is out of memory; every tensor of the batch is already dropped, a
  // smaller batch may work. kUnavailable: the device is lost. kInternal: anything else; the next batch may
  // work.
  virtual absl::Status Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                           absl::Span<float> rows) = 0;

  // Waits until the device has finished everything.
  virtual void Synchronize() = 0;

  // Drops what was recorded or compiled to run faster and takes memory: later batches are slower, or make it
  // anew.
  virtual void DropCompiledGraphs() { memory().DropCompiledGraphs(); }

  virtual DeviceMemory& memory() = 0;

  // Numbers in a row, the same for every tower.
  virtual int dimension() const = 0;

  // Measured by the first Load; none for other number formats.
  virtual std::optional<Int8Accuracy> int8_accuracy() const { return std::nullopt; }
};

}  // namespace embedd
