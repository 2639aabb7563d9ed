// SPDX-License-Identifier: Apache-2.0
//
// PlainLoop: a CLIP image tower as one would write it with LibTorch's functional operators and no tricks; the
// yardstick of the benchmarks. Weights of an OpenCLIP folder, float32, cpu. The header does not see LibTorch.

#pragma once

#include <memory>
#include <string>

namespace embedd {

class PlainLoop {
 public:
  // Batches of `batch` images of noise, normalised beforehand. Throws when the folder cannot be read.
  PlainLoop(const std::string& folder, int batch);
  ~PlainLoop();

  // One forward pass of the batch.
  void Run();

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace embedd
