// SPDX-License-Identifier: Apache-2.0

#include "server/engine/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "server/engine/parallel_for.h"

namespace embedd {
namespace {

// The coordinate of row or column `i` of `count` that frequencies are multiplied with, in f32 as the
// libraries compute it.
float Coordinate(const Rope& rope, int i, int count) {
  if (rope.kind == Rope::Kind::kHalves) return 2.0f * ((static_cast<float>(i) + 0.5f) / count) - 1.0f;
  const float place = static_cast<float>(i) + static_cast<float>(rope.offset);
  return rope.reference > 0 ? place / count * rope.reference : place;
}

float Frequency(const Rope& rope, int i, int n) {
  return static_cast<float>(1.0 / std::pow(rope.theta, static_cast<double>(i) / n));
}

}  // namespace

at::Tensor ToHalves(const at::Tensor& rows, int64_t heads) {
  auto sizes = rows.sizes().vec();
  const int64_t half = sizes[0] / heads / 2;
  return rows.reshape({heads, half, 2, -1}).transpose(1, 2).reshape(sizes).contiguous();
}

RotaryPositions::RotaryPositions(const TowerConfig& config, at::Device device) {
  const Rope& rope = config.rope;
  if (rope.kind == Rope::Kind::kNone) return;
  const int half = config.head_dim() / 2, n = half / 2;
  cos_ = at::empty({config.tokens(), half}, at::kFloat);
  sin_ = at::empty({config.tokens(), half}, at::kFloat);
  float *cos = cos_.mutable_data_ptr<float>(), *sin = sin_.mutable_data_ptr<float>();
  for (int i = 0; i < config.prefix_tokens() * half; ++i) {
    *cos++ = 1;
    *sin++ = 0;
  }
  const float turn = rope.kind == Rope::Kind::kHalves ? 2 * std::numbers::pi_v<float> : 1;
  for (int row = 0; row < config.grid_height(); ++row) {
    for (int column = 0; column < config.grid_width(); ++column) {
      const float y = Coordinate(rope, row, config.grid_height());
      const float x = Coordinate(rope, column, config.grid_width());
      for (int i = 0; i < half; ++i) {
        const float place = (i < n) != rope.columns_first ? y : x;
        const float angle = turn * place * Frequency(rope, i % n, n);
        *cos++ = std::cos(angle);
        *sin++ = std::sin(angle);
      }
    }
  }
  cos_ = cos_.to(device, /*non_blocking=*/false);
  sin_ = sin_.to(device, /*non_blocking=*/false);
}

at::Tensor RotaryPositions::Turn(at::Tensor x) const {
  const int64_t n = x.size(0), tokens = x.size(1), half = cos_.size(1), heads = x.size(2) / (2 * half);
  if (x.device().is_cpu() && x.scalar_type() == at::kFloat) {
    float* const data = x.mutable_data_ptr<float>();
    const float *cos = cos_.const_data_ptr<float>(), *sin = sin_.const_data_ptr<float>();
    const int64_t image = x.stride(0), token = x.stride(1);
    ParallelFor(n * tokens, 32, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float *c = cos + i % tokens * half, *s = sin + i % tokens * half;
        float* u = data + i / tokens * image + i % tokens * token;
        for (int64_t head = 0; head < heads; ++head, u += 2 * half) {
          float* const v = u + half;
          for (int64_t k = 0; k < half; ++k) {
            const float a = u[k], b = v[k];
            u[k] = a * c[k] - b * s[k];
            v[k] = b * c[k] + a * s[k];
          }
        }
      }
    });
    return x;
  }
  const at::Tensor halves = x.to(at::kFloat).reshape({n, tokens, heads, 2, half});
  const at::Tensor u = halves.select(3, 0), v = halves.select(3, 1);
  const at::Tensor cos = cos_.view({1, tokens, 1, half}), sin = sin_.view({1, tokens, 1, half});
  return at::cat({u * cos - v * sin, v * cos + u * sin}, -1).reshape(x.sizes()).to(x.scalar_type());
}

}  // namespace embedd
