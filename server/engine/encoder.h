// SPDX-License-Identifier: Apache-2.0
//
// Encoder: the forward pass of a tower, of images or of text, over LibTorch, with its weights on one device.
// Made by TorchExecutor::Load, destroyed by Offload; used by the device thread only. Owns its weights; never
// touches a file after construction. Every family is the block of TowerConfig between a stem and a pool.
//
// It computes what the models' own libraries compute, in an order that costs less: patches are unfolded into
// one matrix product, residuals are added in place, QuickGELU is a scaled silu, and where one token of the
// last block is pooled that block computes only that token; the query of an attention pool is multiplied with
// its key weights once, at load; learned positions are brought to the image's grid once, too, where all have
// one. On unit vectors this differs by at most 3e-7 from the plain order (the reference in
// tests/support/towers.h).

#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/engine/encoder_parts.h"
#include "server/model/patch_grid.h"
#include "server/model/tower_config.h"
#include "server/model/tower_weights.h"

namespace embedd {

class Encoder {
 public:
  using Options = EncoderOptions;

  // Copies the weights to the device. Throws what LibTorch throws (out of memory).
  Encoder(const TowerConfig& config, const TowerWeights& weights, const Options& options);

  // Embeds normalised pixels.
  //   pixels   [n, 3, image_height, image_width], dtype and device of the options, contiguous
  //   returns  float32 [n, embed_dim] on the device, not normalised
  // Throws what LibTorch throws. Everything it allocated is free again when the result is dropped.
  at::Tensor Forward(const at::Tensor& pixels) const;

  // The same of patches as UnfoldPatches makes them, on the device.
  at::Tensor ForwardPatches(const at::Tensor& patches) const;

  // The same of `n` images whose patches are asked for a few images at a time: what lies between bytes and
  // the first product is the largest tensor of a small model, and so stays in the processor's cache.
  //   patches  called with a range [first, first + count) of [0, n), returns the patches of those images as
  //            UnfoldPatches makes them, in the dtype of the options
  using PatchSource = absl::FunctionRef<at::Tensor(int64_t first, int64_t count)>;
  //   grids    only of a tower of images of any shape (max_patches): those of the images. Their patches then
  //            are [count, max_patches, 3 * p * p], of each image its own, row by row, and then anything
  //            finite
  at::Tensor Forward(int64_t n, PatchSource patches, absl::Span<const PatchGrid> grids = {}) const;

  // Embeds texts.
  //   ids      int64 [n, tokens] on the device, tokens up to the context length: what stands behind the
  //            pooled token of every text may be left out where the tower is causal
  //   pooled   int64 [n] on the device: the token that becomes the embedding
  at::Tensor ForwardText(const at::Tensor& ids, const at::Tensor& pooled) const;

 private:
  at::Tensor Embed(const at::Tensor& patches, absl::Span<const PatchGrid> grids = {}) const;
  // What of a batch is not in its tokens.
  struct Tail {
    at::Tensor pooled;  // of texts
    OwnTokens own;      // of images of any shape
  };
  at::Tensor Transform(at::Tensor x, const Tail& tail) const;
  at::Tensor Normalize(const NormPart& norm, const at::Tensor& x) const;
  at::Tensor Attend(const EncoderBlock& block, const at::Tensor& x, const Tail& tail) const;
  at::Tensor Hidden(const EncoderBlock& block, const at::Tensor& x) const;
  at::Tensor PoolTokens(const at::Tensor& x, const OwnTokens& own) const;

  const TowerConfig config_;
  const Options options_;
  const EncoderParts parts_;
};

}  // namespace embedd
