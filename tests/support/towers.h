// SPDX-License-Identifier: Apache-2.0
//
// Image towers for tests and benchmarks, behind a header that does not see LibTorch (its CHECK macros and
// Catch2's clash). PlainTower is the yardstick: the operators as one would write them down from the paper, no
// tricks.

#pragma once

#include <memory>
#include <vector>

#include "server/model/model_folder.h"

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

// The same through the server's VisionTower, float32, cpu, with plain or packed weights.
std::vector<float> RunVisionTower(const ModelFolder& model, int n, const std::vector<float>& pixels,
                                  bool packed);

// Whether this LibTorch has packed products.
bool PackedTowersExist();

// n images of normalised noise, the same on every machine.
std::vector<float> NoisePixels(const VisionConfig& config, int n);

// The largest difference between two sets of rows once every row has length 1.
double LargestUnitDifference(const std::vector<float>& a, const std::vector<float>& b, int dimension);

}  // namespace embedd
