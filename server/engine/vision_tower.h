// SPDX-License-Identifier: Apache-2.0
//
// VisionTower: the forward pass of a CLIP vision transformer over LibTorch, with its weights on one device.
// Made by TorchExecutor::Load, destroyed by Offload; used by the device thread only. Owns its weights; never
// touches a file after construction. Architecture: OpenCLIP v3.3.0, transformer.py (VisionTransformer).
//
// It computes what OpenCLIP computes, in an order that costs less: patches are unfolded into one matrix
// product, residuals are added in place, QuickGELU is a scaled silu, and where only the class token is pooled
// the last block computes only that token. On unit vectors this differs by at most 3e-7 from the plain order
// (the reference in tests/support/towers.h).

#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/functional/function_ref.h"
#include "server/engine/attention.h"
#include "server/engine/linear_layer.h"
#include "server/model/vision_config.h"
#include "server/model/vision_weights.h"

namespace embedd {

class VisionTower {
 public:
  struct Options {
    at::Device device = at::kCPU;
    // kFloat, kHalf or kBFloat16. In the latter two the matrix products run in that type and LayerNorm in
    // f32, as OpenCLIP's precision "fp16"/"bf16" does.
    at::ScalarType dtype = at::kFloat;
    WeightLayout layout = WeightLayout::kPlain;  // only where CanUse
    // Of a plain f32 tower on cpu: notes what goes into each layer. Must outlive the tower.
    InputRanges* observed = nullptr;
    // What such a tower noted: products of layers then run in int8; all else stays f32. dtype is kFloat.
    const InputRanges* int8 = nullptr;
  };

  // Copies the weights to the device. Throws what LibTorch throws (out of memory).
  VisionTower(const VisionConfig& config, const VisionWeights& weights, const Options& options);

  // Embeds normalised pixels.
  //   pixels   [n, 3, image_height, image_width], dtype and device of the options, contiguous
  //   returns  float32 [n, embed_dim] on the device, not normalised
  // Throws what LibTorch throws. Everything it allocated is free again when the result is dropped.
  at::Tensor Forward(const at::Tensor& pixels) const;

  // The same of `n` images whose patches are asked for a few images at a time: what lies between bytes and
  // the first product is the largest tensor of a small model, and so stays in the processor's cache.
  //   patches  called with a range [first, first + count) of [0, n), returns the patches of those images as
  //            UnfoldPatches makes them, in the dtype of the options
  using PatchSource = absl::FunctionRef<at::Tensor(int64_t first, int64_t count)>;
  at::Tensor Forward(int64_t n, PatchSource patches) const;

 private:
  struct Norm {
    at::Tensor weight, bias;
  };
  struct Block {
    Norm ln_1, ln_2;
    LinearLayer qkv;            // not in a class-token block
    LinearLayer query;          // only in a class-token block
    KeyValueWeights key_value;  // only in a class-token block
    LinearLayer out_proj, c_fc, c_proj;
    at::Tensor ls_1, ls_2;  // undefined without layer scale
    bool class_token_only = false;
  };
  class Loader;

  at::Tensor Embed(const at::Tensor& patches) const;
  at::Tensor Transform(at::Tensor x) const;
  at::Tensor Normalize(const Norm& norm, const at::Tensor& x) const;
  at::Tensor Attend(const Block& block, const at::Tensor& x) const;
  at::Tensor PoolTokens(const at::Tensor& x) const;

  const VisionConfig config_;
  const Options options_;
  LinearLayer conv1_;
  at::Tensor class_embedding_, positional_embedding_, proj_;
  Norm ln_pre_, ln_post_;
  std::vector<Block> blocks_;
};

}  // namespace embedd
