// SPDX-License-Identifier: Apache-2.0
//
// EncoderParts: the weights of an Encoder, loaded, cast, laid out and brought into the order in which it
// computes. Made once by its constructor. Sees LibTorch; throws what it throws.

#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "server/engine/attention.h"
#include "server/engine/linear_layer.h"
#include "server/engine/rope.h"
#include "server/model/tower_config.h"
#include "server/model/tower_weights.h"

namespace embedd {

struct EncoderOptions {
  at::Device device = at::kCPU;
  // kFloat, kHalf or kBFloat16. In the latter two the matrix products run in that type and LayerNorm in
  // f32, as OpenCLIP's precision "fp16"/"bf16" does.
  at::ScalarType dtype = at::kFloat;
  WeightLayout layout = WeightLayout::kPlain;  // only where CanUse
  // LayerNorm reads and writes `dtype`, and sums in f32, as cuda's does: a third of the bytes that two casts
  // around it move; its gains are rounded.
  bool norms_in_dtype = false;
  // Of a plain f32 tower on cpu: notes what goes into each layer. Must outlive the tower.
  InputRanges* observed = nullptr;
  // What such a tower noted: products of layers then run in int8; all else stays f32. dtype is kFloat.
  const InputRanges* int8 = nullptr;
};

struct NormPart {
  at::Tensor weight, bias;  // in the type that the norm reads; undefined where there is no norm
};

struct EncoderBlock {
  NormPart ln_1, ln_2;
  LinearLayer qkv;               // not in a block of one query
  LinearLayer query;             // only in a block of one query
  KeyValueWeights key_value;     // and there, where keys are not turned
  LinearLayer turned_key_value;  // or where they are
  NormPart attention_norm, mlp_norm;
  LinearLayer out_proj, c_fc, c_proj;
  at::Tensor ls_1, ls_2;   // undefined without layer scale
  bool one_query = false;  // the last block where one token is pooled: computes that token only
};

struct AttentionPool {
  at::Tensor asked;  // f32 [heads, width]: the query times the key weights, scaled
  KeyValueWeights key_value;
  LinearLayer out_proj, c_fc, c_proj;
  NormPart ln;
};

struct EncoderParts {
  EncoderParts(const TowerConfig& config, const TowerWeights& weights, const EncoderOptions& options);

  std::vector<LinearLayer> stem;  // one product over patches, or three
  at::Tensor words;               // [vocabulary, width] of text
  at::Tensor prefix;              // [prefix_tokens, width]; undefined without
  at::Tensor positions;           // [tokens, width], zero where a token has none; undefined without any
  at::Tensor position_square;     // f32 [side * side, width], of PositionResize::kEachImage instead
  RotaryPositions rope;
  NormPart ln_pre, ln_post;
  std::vector<EncoderBlock> blocks;
  AttentionPool pool;
  at::Tensor proj;       // [width, embed_dim]; undefined without
  at::Tensor proj_bias;  // or undefined
};

}  // namespace embedd
