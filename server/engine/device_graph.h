// SPDX-License-Identifier: Apache-2.0
//
// DeviceGraph: work on a CUDA device, recorded once and launched as one from then on. A tower is some two
// hundred kernels, which the processor hands over one by one: for a single image that takes several times as
// long as the card computes. Used by CudaPixels; CUDA is neither included nor linked (cuda_library.h).

#pragma once

#include <memory>

#include "absl/functional/function_ref.h"

namespace embedd {

class DeviceGraph {
 public:
  // Records what `work` does on this thread's stream, which is not the device's default one. `work` has run
  // before, so that libraries have set up what they keep. Tensors it makes live in a pool of the graph;
  // those it reads and writes outside must stay. `pool_of`: a graph whose pool is used too, since the two
  // never run at once, or null.
  // Throws what LibTorch throws, and std::runtime_error where it has no graphs. A recording that could not be
  // begun or ended leaves LibTorch's allocator believing that it goes on: from then on this process records
  // no more.
  DeviceGraph(absl::FunctionRef<void()> work, const DeviceGraph* pool_of);
  ~DeviceGraph();

  // Launches it on this thread's stream.
  void Replay();

 private:
  struct Impl;
  static std::unique_ptr<Impl> Record(absl::FunctionRef<void()> work, const DeviceGraph* pool_of);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace embedd
