// SPDX-License-Identifier: Apache-2.0
//
// Image towers for tests and benchmarks, behind a header that does not see LibTorch (its CHECK macros and
// Catch2's clash). PlainTower is the yardstick: the operators as one would write them down from the paper, no
// tricks.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "server/engine/panel_kernel.h"
#include "server/engine/weight_layout.h"
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

// The same through the server's Encoder, float32, cpu, its weights laid out as asked. `once_loaded` is called
// between loading and computing.
std::vector<float> RunEncoder(const ModelFolder& model, int n, const std::vector<float>& pixels,
                              WeightLayout layout, const std::function<void()>& once_loaded = {});

// The same in f16, whose norms read and write f16 too, as on cuda with --cuda-pipeline, or f32.
std::vector<float> RunHalfEncoder(const ModelFolder& model, int n, const std::vector<float>& pixels,
                                  bool norms_in_dtype);

// Threads of one operation, for this thread from now on.
void UseTorchThreads(int count);

// The layouts that this LibTorch and this processor can compute f32 with; kPlain first.
std::vector<WeightLayout> UsableLayouts();

// x [rows, in] times w [out, in] transposed, plus bias [out] (or empty), through PanelProduct in a kernel
// into whose panels `out` divides; onto `sum` [rows, out] where that is not empty.
std::vector<float> RunPanelProduct(const PanelKernel& kernel, int rows, int in, int out,
                                   const std::vector<float>& x, const std::vector<float>& w,
                                   const std::vector<float>& bias, const std::vector<float>& sum);

// Attention of queries [n, queries, width] to keys and values, which lie side by side in `key_value`
// [n, tokens, 2 * width]. `own`: the tokens of each input that are its own, where not all are.
std::vector<float> RunAttention(int n, int queries, int tokens, int width, int heads,
                                const std::vector<float>& query, const std::vector<float>& key_value,
                                bool causal = false, const std::vector<int64_t>& own = {});

// OneQueryAttention of queries [n, width] to x [n, tokens, width]; weight [2 * width, width] and bias
// [2 * width] are those of keys and values, as OpenCLIP holds them.
std::vector<float> RunOneQueryAttention(int n, int tokens, int width, int heads,
                                        const std::vector<float>& query, const std::vector<float>& x,
                                        const std::vector<float>& weight, const std::vector<float>& bias);

// Queries x [n, tokens, width] turned by the rotary positions of `config`, in f32 or in bf16, whose numbers x
// must be made of.
std::vector<float> TurnByRope(const TowerConfig& config, int n, const std::vector<float>& x, bool in_bf16);

// n images of normalised noise, the same on every machine.
std::vector<float> NoisePixels(const TowerConfig& config, int n);

// The largest difference between two sets of rows once every row has length 1.
double LargestUnitDifference(const std::vector<float>& a, const std::vector<float>& b, int dimension);

}  // namespace embedd
