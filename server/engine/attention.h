// SPDX-License-Identifier: Apache-2.0
//
// Attention: the scaled dot product of a transformer block, over the panel kernels where they fit and over
// LibTorch elsewhere. Called by Encoder.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace embedd {

// Of inputs of different lengths in one batch: how many of its tokens each has of its own. They stand first;
// what fills the others is seen by no query.
struct OwnTokens {
  OwnTokens() = default;
  OwnTokens(std::vector<int64_t> own, int64_t tokens, at::Device device);

  std::vector<int64_t> counts;  // at least 1 each; empty: all are their own
  at::Tensor seen;              // bool [n, 1, tokens]: the same on the device; undefined: all are
};

// Scaled dot-product attention, softmax(q k^T / sqrt(head_dim)) v for each head. `causal`: query i sees the
// keys up to i, of which there are as many as queries; else every query sees all. Each tensor [n, tokens,
// width] holds the heads side by side in its last dimension, which must be dense; they may be slices of one
// product. The keys and values have the same number of tokens, the queries may have another. Returns [n,
// tokens of the queries, width], contiguous. Part of Encoder; throws what LibTorch throws.
//
// In f32 on cpu it runs in the kernels of PanelProduct where head_dim is a multiple of four: one head of
// one image is a task whose keys, values and scores stay in the cache, and nothing is transposed in memory
// afterwards. LibTorch's own function asks MKL for each of these small products. Results differ by rounding.
// `own` is of the keys; not together with `causal`.
at::Tensor Attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, int64_t heads,
                     bool causal = false, const OwnTokens& own = OwnTokens());

// The weights of keys and values of one block, in f32. The bias of the keys adds the same to every score of a
// query, and so nothing to the softmax.
struct KeyValueWeights {
  KeyValueWeights() = default;
  // weight [2 * width, width], bias [2 * width] or undefined, the keys' first. Copies what it keeps.
  KeyValueWeights(const at::Tensor& weight, const at::Tensor& bias, int64_t heads);

  at::Tensor key;         // [heads, head_dim, width]
  at::Tensor value;       // [heads, width, head_dim]
  at::Tensor value_bias;  // [width], or undefined
};

// Attention of one query to the tokens x, without their keys and values: q (W_k x)^T is (q W_k) x^T, and the
// mean of W_v x is W_v times the mean of x, so two products of `width` by `width` for each image take the
// place of two for each token. Returns [n, 1, width] in the type of the query. Computes in f32 whatever the
// type, since q W_k is rounded before the sums over `width` and not after them; it is little work.
//   query    [n, 1, width]
//   x        [n, tokens, width]
//   visible  bool [n, 1, tokens]: the tokens that each query sees; undefined: all
at::Tensor OneQueryAttention(const at::Tensor& query, const at::Tensor& x, const KeyValueWeights& weights,
                             const at::Tensor& visible = at::Tensor());

// The same of queries that are already multiplied by the key weights and the scale.
//   asked    f32 [heads, width], one for all, or [n, heads, width]
// Returns f32 [n, width].
at::Tensor AskedAttention(const at::Tensor& asked, const at::Tensor& x, const KeyValueWeights& weights,
                          const at::Tensor& visible = at::Tensor());

}  // namespace embedd
