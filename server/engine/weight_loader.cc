// SPDX-License-Identifier: Apache-2.0

#include "server/engine/weight_loader.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <cstring>
#include <vector>

namespace embedd {
namespace {

at::ScalarType ScalarTypeOf(TensorType type) {
  switch (type) {
    case TensorType::kF64:
      return at::kDouble;
    case TensorType::kF32:
      return at::kFloat;
    case TensorType::kF16:
      return at::kHalf;
    case TensorType::kBF16:
      return at::kBFloat16;
    case TensorType::kOther:
      break;
  }
  return at::kFloat;
}

// A tensor over the mapped file itself where its bytes may be used as they lie, else a copy; never written
// to.
at::Tensor View(const TensorView& view) {
  if (view.data == nullptr) return at::zeros(view.shape, at::kFloat);
  const at::ScalarType type = ScalarTypeOf(view.type);
  const bool aligned = reinterpret_cast<uintptr_t>(view.data) % TensorTypeBytes(view.type) == 0;
  if (view.strides.empty() && aligned) {
    return at::from_blob(const_cast<uint8_t*>(view.data), view.shape, at::dtype(type));
  }
  at::Tensor copy = at::empty(view.shape, at::dtype(type));
  uint8_t* to = static_cast<uint8_t*>(copy.mutable_data_ptr());
  ForEachPiece(view, [&](const uint8_t* data, size_t bytes) {
    std::memcpy(to, data, bytes);
    to += bytes;
  });
  return copy;
}

// In the tower's shape, in a type of the file's or f32; may be a view of the file.
at::Tensor Assemble(const WeightSource& source, double scale) {
  at::Tensor tensor;
  if (source.parts.size() == 1) {
    tensor = View(source.parts[0]);
  } else {
    std::vector<at::Tensor> parts;
    for (const TensorView& part : source.parts) parts.push_back(View(part));
    tensor = at::cat(parts);
  }
  // As the libraries do, which copy into a model of f32: also on the way to a shorter format.
  if (tensor.scalar_type() == at::kDouble) tensor = tensor.to(at::kFloat);
  if (source.transposed) tensor = tensor.t();
  return scale == 1 ? tensor : tensor.to(at::kFloat).mul(scale);
}

}  // namespace

at::Tensor ViewWeight(const WeightSource& source, at::ScalarType dtype, double scale) {
  return Assemble(source, scale).to(dtype);
}

at::Tensor LoadWeight(const WeightSource& source, at::Device device, at::ScalarType dtype, double scale) {
  // copy=true: a tensor that needs no change must not stay a view of the file.
  const at::Tensor tensor =
      Assemble(source, scale).to(dtype, /*non_blocking=*/false, /*copy=*/true).contiguous();
  return device.is_cpu() ? tensor : tensor.to(device, /*non_blocking=*/false);
}

}  // namespace embedd
