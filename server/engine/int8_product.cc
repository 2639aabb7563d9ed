// SPDX-License-Identifier: Apache-2.0

#include "server/engine/int8_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "server/engine/cpu_features.h"
#include "server/engine/parallel_for.h"

namespace embedd {
namespace {

// Operators of LibTorch without a C++ header: looked up by name.
using Scalars = c10::List<std::optional<at::Scalar>>;
using PackFunction = at::Tensor(at::Tensor, std::optional<c10::List<int64_t>>);
using ProductFunction = at::Tensor(at::Tensor, double, int64_t, at::Tensor, at::Tensor, at::Tensor,
                                   std::optional<at::Tensor>, double, int64_t, std::optional<at::ScalarType>,
                                   std::string_view, Scalars, std::string_view);
using SumFunction = at::Tensor(at::Tensor, double, int64_t, at::Tensor, at::Tensor, at::Tensor,
                               std::optional<at::Tensor>, std::optional<at::Tensor>, double, int64_t,
                               std::optional<at::ScalarType>, double, int64_t, std::string_view, double,
                               std::string_view, Scalars, std::string_view);

template <typename Function>
c10::TypedOperatorHandle<Function> Operator(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Function>();
}

const c10::TypedOperatorHandle<ProductFunction>& Product() {
  static const auto kProduct = Operator<ProductFunction>("onednn::qlinear_pointwise");
  return kProduct;
}

std::optional<at::Tensor> Optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

// out[i] = round(in[i] * factor[i]) + zero, kept between 0 and highest. Adding 1.5 * 2^23 rounds to an
// integer that then stands in the low bits of the float: plain arithmetic, which compilers turn into vector
// code.
void EncodeRow(const float* in, const float* factor, int64_t n, float zero, float highest, uint8_t* out) {
  constexpr float kRound = 12582912.0f;
  for (int64_t i = 0; i < n; ++i) {
    float v = in[i] * factor[i] + zero;
    v = v > 0 ? v : 0;
    v = v < highest ? v : highest;
    out[i] = static_cast<uint8_t>(std::bit_cast<uint32_t>(v + kRound));
  }
}

// Where it is 127, an output of Activate far beyond what calibration saw may still be larger.
int HighestByte() { return CpuMultipliesInt8() ? 255 : 127; }

// A channel may be this many times as large as the median one before it is scaled down. Measured on the demo
// model with two channels of each LayerNorm made 30 times as large: the least cosine to f32 over 128 drawings
// is 0.9997 with 2, 0.9995 with 4, 0.967 without any of this.
constexpr float kLoud = 2;

void MergeExtremes(const at::Tensor& now, std::vector<float>* seen, bool greatest) {
  const float* values = now.const_data_ptr<float>();
  if (seen->empty()) seen->assign(values, values + now.numel());
  for (size_t i = 0; i < seen->size(); ++i) {
    (*seen)[i] = greatest ? std::max((*seen)[i], values[i]) : std::min((*seen)[i], values[i]);
  }
}

}  // namespace

void InputRange::Observe(const at::Tensor& x) {
  const at::Tensor rows = x.reshape({-1, x.size(-1)});
  MergeExtremes(rows.amin(0).contiguous(), &least, false);
  MergeExtremes(rows.amax(0).contiguous(), &greatest, true);
}

ByteCode CodeFor(const InputRange& range, bool even) {
  const size_t n = range.least.size();
  ByteCode code;
  code.spread.assign(n, 1);
  if (!even) {
    std::vector<float> size(n);
    for (size_t j = 0; j < n; ++j) size[j] = std::max(-range.least[j], range.greatest[j]);
    std::vector<float> sorted = size;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<long>(n / 2), sorted.end());
    const float limit = kLoud * sorted[n / 2];
    for (size_t j = 0; j < n && limit > 0; ++j) code.spread[j] = std::max(1.0f, size[j] / limit);
  }
  float least = 0, greatest = 0;
  for (size_t j = 0; j < n; ++j) {
    least = std::min(least, range.least[j] / code.spread[j]);
    greatest = std::max(greatest, range.greatest[j] / code.spread[j]);
  }
  code.scale = std::max((double{greatest} - least) / HighestByte(), 1e-12);
  code.zero_point = std::lround(-least / code.scale);
  return code;
}

Int8Product::Int8Product(const at::Tensor& weight, at::Tensor bias, const ByteCode& code,
                         const ByteCode* next)
    : scale_(code.scale), zero_point_(code.zero_point), bias_(std::move(bias)), to_bytes_(next != nullptr) {
  const at::Tensor spread = at::tensor(at::ArrayRef<float>(code.spread));
  factor_ = (spread * code.scale).reciprocal_();
  const at::Tensor spread_weight = weight * spread;
  weight_scale_ = spread_weight.abs().amax(1).clamp_min_(1e-12).div_(127);
  weight_zero_ = at::zeros({weight.size(0)}, at::kLong);
  static const std::optional<c10::List<int64_t>> kAnyShape;
  static const auto kPack = Operator<PackFunction>("onednn::qlinear_prepack");
  weight_ = kPack.call(spread_weight.div(weight_scale_.unsqueeze(1)).round_().to(at::kChar), kAnyShape);
  if (next != nullptr) {
    next_scale_ = next->scale;
    next_zero_point_ = next->zero_point;
  }
}

at::Tensor Int8Product::Encode(const at::Tensor& x) const {
  if (x.scalar_type() == at::kByte) return x;  // the layer before wrote it in our code
  const at::Tensor in = x.contiguous();
  at::Tensor out = at::empty(in.sizes(), at::kByte);
  const int64_t columns = in.size(-1), rows = in.numel() / columns;
  const float zero = static_cast<float>(zero_point_), highest = static_cast<float>(HighestByte());
  const float *from = in.const_data_ptr<float>(), *factor = factor_.const_data_ptr<float>();
  uint8_t* to = out.mutable_data_ptr<uint8_t>();
  // Some 16,000 numbers a task: fewer are not worth waking a thread.
  ParallelFor(rows, std::max<int64_t>(1, 16384 / columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      EncodeRow(from + row * columns, factor, columns, zero, highest, to + row * columns);
    }
  });
  return out;
}

at::Tensor Int8Product::Apply(const at::Tensor& x) const {
  return Product().call(Encode(x), scale_, zero_point_, weight_, weight_scale_, weight_zero_, Optional(bias_),
                        1, 0, at::kFloat, "none", Scalars(), "");
}

at::Tensor Int8Product::Activate(const at::Tensor& x, std::string_view activation,
                                 std::string_view approximate) const {
  return Product().call(Encode(x), scale_, zero_point_, weight_, weight_scale_, weight_zero_, Optional(bias_),
                        next_scale_, next_zero_point_, to_bytes_ ? at::kByte : at::kFloat, activation,
                        Scalars(), approximate);
}

at::Tensor Int8Product::AddTo(const at::Tensor& sum, const at::Tensor& x) const {
  static const auto kSum = Operator<SumFunction>("onednn::qlinear_pointwise", "binary");
  return kSum.call(Encode(x), scale_, zero_point_, weight_, weight_scale_, weight_zero_, sum, Optional(bias_),
                   1, 0, at::kFloat, 1, 0, "sum", 1, "none", Scalars(), "");
}

}  // namespace embedd
