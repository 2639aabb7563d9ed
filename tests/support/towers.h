// SPDX-License-Identifier: Apache-2.0
//
// Image towers for tests and benchmarks, behind a header that does not see LibTorch (its CHECK macros and
// Catch2's clash). PlainTower is the yardstick: the operators as one would write them down from the paper, no
// tricks.

#pragma once

#include <memory>
#include <vector>

#include "server/model/model_folder.h"
#include "server/model/weight_layout.h"

namespace embedd {

class PlainTower {
 public:
  // Copies the weights, float32, cpu.
  explicit PlainTower(const ModelFolder& model);
  ~PlainTower();

  // pixels: normalised, [n, 3, height, width]. Returns [n, embed_dim], not normalised.
  std::vector<float> Run(int n, const std::vector<float>& pixels) const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

// The same through the server's VisionTower, float32, cpu, its weights laid out as asked.
std::vector<float> RunVisionTower(const ModelFolder& model, int n, const std::vector<float>& pixels,
                                  WeightLayout layout);

// Threads of one operation, for this thread from now on.
void UseTorchThreads(int count);

// The layouts that this LibTorch and this processor can compute f32 with; kPlain first.
std::vector<WeightLayout> UsableLayouts();

// x [rows, in] times w [out, in] transposed, plus bias [out] (or empty), through PanelProduct; onto `sum`
// [rows, out] where that is not empty. Only where kPanels is usable and `out` divides by 16.
std::vector<float> RunPanelProduct(int rows, int in, int out, const std::vector<float>& x,
                                   const std::vector<float>& w, const std::vector<float>& bias,
                                   const std::vector<float>& sum);

// n images of normalised noise, the same on every machine.
std::vector<float> NoisePixels(const VisionConfig& config, int n);

// The largest difference between two sets of rows once every row has length 1.
double LargestUnitDifference(const std::vector<float>& a, const std::vector<float>& b, int dimension);

}  // namespace embedd
