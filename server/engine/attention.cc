// SPDX-License-Identifier: Apache-2.0

#include "server/engine/attention.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "server/engine/panel_kernel.h"
#include "server/engine/parallel_for.h"

namespace embedd {
namespace {

// The rows of one head of one image.
struct Rows {
  const float* data;
  int64_t stride;
  int64_t count;
};

Rows HeadRows(const at::Tensor& x, int64_t image, int64_t first_column, int64_t count) {
  return {x.const_data_ptr<float>() + image * x.stride(0) + first_column, x.stride(1), count};
}

// One head after the other, in memory that is used again.
class PanelHead {
 public:
  PanelHead(const PanelKernel& kernel, int64_t tokens, int64_t head_dim, bool causal)
      : kernel_(kernel),
        head_dim_(head_dim),
        columns_(DivideUp(head_dim, kernel.columns) * kernel.columns),
        padded_(DivideUp(tokens, kernel.columns) * kernel.columns),
        scale_(1 / std::sqrt(static_cast<float>(head_dim))),
        causal_(causal) {}

  // Numbers that Run needs to work in.
  int64_t scratch_size() const {
    return padded_ * (head_dim_ + columns_ + kernel_.rows) + kernel_.rows * columns_;
  }

  void Run(const Rows& query, const Rows& key, const Rows& value, float* scratch, float* out,
           int64_t out_stride) const {
    float* const keys = scratch;
    float* const values = keys + padded_ * head_dim_;
    float* const scores = values + padded_ * columns_;    // [kernel_.rows, padded_]
    float* const wide = scores + padded_ * kernel_.rows;  // [kernel_.rows, columns_]
    PackKeys(key, keys);
    PackValues(value, values);
    const int64_t tiles = DivideUp(query.count, kernel_.rows);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t top = t * query.count / tiles, rows = (t + 1) * query.count / tiles - top;
      const int64_t seen = causal_ ? std::min(top + rows, key.count) : key.count;
      const int64_t score_columns = DivideUp(seen, kernel_.columns) * kernel_.columns;
      Multiply({query.data + top * query.stride, query.stride, rows}, {keys, head_dim_, head_dim_},
               score_columns, scores, padded_);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t count = causal_ ? std::min(top + r + 1, key.count) : key.count;
        kernel_.softmax(scores + r * padded_, count, scale_);
        if (count < seen) std::fill(scores + r * padded_ + count, scores + r * padded_ + seen, 0.0f);
      }
      const Rows weights = {scores, padded_, rows};
      if (columns_ == head_dim_) {
        Multiply(weights, {values, seen, key.count}, head_dim_, out + top * out_stride, out_stride);
        continue;
      }
      Multiply(weights, {values, seen, key.count}, columns_, wide, columns_);
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(out + (top + r) * out_stride, wide + r * columns_, head_dim_ * sizeof(float));
      }
    }
  }

 private:
  // So many inputs of panels that hold `stored` of them.
  struct Panels {
    const float* data;
    int64_t depth, stored;
  };

  // k^T in panels: for each panel of tokens [head_dim, columns]. Where tokens end, the last one stands.
  void PackKeys(const Rows& key, float* keys) const {
    const int64_t columns = kernel_.columns;
    for (int64_t token = 0; token < padded_; token += 4) {
      const auto row = [&](int64_t i) { return key.data + std::min(token + i, key.count - 1) * key.stride; };
      TransposeFour({row(0), row(1), row(2), row(3)}, head_dim_,
                    keys + token / columns * head_dim_ * columns + token % columns, columns);
    }
  }

  // v in panels: for each panel of the head's columns [tokens, columns]. Where columns end, zeros stand.
  void PackValues(const Rows& value, float* values) const {
    const int64_t columns = kernel_.columns;
    for (int64_t first = 0; first < columns_; first += columns) {
      const int64_t used = std::min(columns, head_dim_ - first);
      float* to = values + first * value.count;
      for (int64_t token = 0; token < value.count; ++token, to += columns) {
        const float* from = value.data + token * value.stride + first;
        if (used == columns) {
          for (int64_t i = 0; i < columns; i += kLine) {  // of a fixed size: no call
            std::memcpy(to + i, from + i, kLine * sizeof(float));
          }
        } else {
          std::memcpy(to, from, used * sizeof(float));
          std::fill(to + used, to + columns, 0.0f);
        }
      }
    }
  }

  // out [x.count, columns] = x times panels.
  void Multiply(const Rows& x, const Panels& panels, int64_t columns, float* out, int64_t out_stride) const {
    for (int64_t first = 0; first < columns; first += kernel_.columns) {
      MultiplyTile(kernel_,
                   {.x = x.data,
                    .x_stride = x.stride,
                    .panel = panels.data + first * panels.stored,
                    .depth = panels.depth,
                    .bias = nullptr,
                    .out = out + first,
                    .out_stride = out_stride,
                    .add = false,
                    .fetch = panels.data,
                    .fetch_lines = 0},
                   x.count);
    }
  }

  const PanelKernel& kernel_;
  const int64_t head_dim_, columns_;  // of a head, and of the panels that hold it
  const int64_t padded_;              // of tokens
  const float scale_;
  const bool causal_;
};

at::Tensor InPanels(const PanelKernel& kernel, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value, int64_t heads, bool causal, const OwnTokens& own) {
  const int64_t n = query.size(0), width = query.size(2), head_dim = width / heads;
  const int64_t tasks = n * heads, workers = std::min<int64_t>(tasks, at::get_num_threads());
  const PanelHead head(kernel, key.size(1), head_dim, causal);
  at::Tensor out = at::empty({n, query.size(1), width}, query.options());
  at::Tensor scratch = at::empty({workers, head.scratch_size()}, query.options());
  float* const to = out.mutable_data_ptr<float>();
  float* const memory = scratch.mutable_data_ptr<float>();
  std::atomic<int64_t> untaken = 0;
  ParallelFor(workers, 1, [&](int64_t worker, int64_t) {
    for (int64_t task; (task = untaken.fetch_add(1)) < tasks;) {
      const int64_t image = task / heads, first = task % heads * head_dim;
      const int64_t keys = own.counts.empty() ? key.size(1) : own.counts[static_cast<size_t>(image)];
      head.Run(HeadRows(query, image, first, query.size(1)), HeadRows(key, image, first, keys),
               HeadRows(value, image, first, keys), memory + worker * head.scratch_size(),
               to + image * out.stride(0) + first, width);
    }
  });
  return out;
}

}  // namespace

OwnTokens::OwnTokens(std::vector<int64_t> own, int64_t tokens, at::Device device)
    : counts(std::move(own)),
      seen(at::arange(tokens, at::kLong)
               .view({1, 1, -1})
               .lt(at::tensor(counts, at::kLong).view({-1, 1, 1}))
               .to(device, /*non_blocking=*/false)) {}

at::Tensor Attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, int64_t heads,
                     bool causal, const OwnTokens& own) {
  const int64_t head_dim = query.size(2) / heads;
  if (query.device().is_cpu() && query.scalar_type() == at::kFloat && head_dim % 4 == 0) {
    const PanelKernel* kernel = PanelKernelFor(head_dim);
    if (kernel == nullptr) kernel = Avx512PanelKernel();
    if (kernel == nullptr) kernel = Avx2PanelKernel();
    if (kernel != nullptr) return InPanels(*kernel, query, key, value, heads, causal, own);
  }
  const auto split = [&](const at::Tensor& x) {
    return x.view({x.size(0), x.size(1), heads, head_dim}).transpose(1, 2);
  };
  const at::Tensor q = split(query), k = split(key), v = split(value);
  const at::Tensor out = own.seen.defined()
                             ? at::scaled_dot_product_attention(q, k, v, own.seen.unsqueeze(1), 0.0, causal)
                             : at::scaled_dot_product_attention(q, k, v, {}, 0.0, causal);
  return out.transpose(1, 2).reshape(query.sizes());
}

KeyValueWeights::KeyValueWeights(const at::Tensor& weight, const at::Tensor& bias, int64_t heads) {
  const int64_t width = weight.size(1);
  const std::vector<at::Tensor> by_head = weight.view({2, heads, width / heads, width}).unbind();
  key = by_head[0].clone();
  value = by_head[1].transpose(1, 2).contiguous();
  if (bias.defined()) value_bias = bias.slice(0, width).clone();
}

at::Tensor AskedAttention(const at::Tensor& asked, const at::Tensor& x_any, const KeyValueWeights& weights,
                          const at::Tensor& visible) {
  const at::Tensor x = x_any.to(at::kFloat);
  const int64_t n = x.size(0);
  const at::Tensor per_input = asked.dim() == 3 ? asked : asked.expand({n, asked.size(0), asked.size(1)});
  at::Tensor scores = at::bmm(per_input, x.transpose(1, 2));  // [n, heads, tokens]
  if (visible.defined()) {
    scores.masked_fill_(visible.logical_not(), -std::numeric_limits<float>::infinity());
  }
  const at::Tensor mean = at::bmm(at::softmax(scores, -1), x);  // [n, heads, width]
  const at::Tensor out =
      at::bmm(mean.transpose(0, 1), weights.value).transpose(0, 1).reshape({n, -1});  // [n, width]
  return weights.value_bias.defined() ? out + weights.value_bias : out;
}

at::Tensor OneQueryAttention(const at::Tensor& query, const at::Tensor& x, const KeyValueWeights& weights,
                             const at::Tensor& visible) {
  const int64_t n = x.size(0), heads = weights.key.size(0), head_dim = weights.key.size(1);
  const at::Tensor by_head = query.to(at::kFloat).view({n, heads, head_dim}).transpose(0, 1);
  const at::Tensor asked = at::bmm(by_head, weights.key)  // [heads, n, width]
                               .mul_(1 / std::sqrt(static_cast<double>(head_dim)))
                               .transpose(0, 1);
  return AskedAttention(asked, x, weights, visible).view(query.sizes()).to(query.scalar_type());
}

}  // namespace embedd
