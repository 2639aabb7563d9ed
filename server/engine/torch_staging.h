// SPDX-License-Identifier: Apache-2.0
//
// PixelStaging: hands prepared uint8 images to the tower, on its device and normalised. On cpu it makes
// patches of floats straight from the images; elsewhere it copies bytes, a quarter of the size, and casts on
// the device. Part of TorchExecutor.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/engine/cuda_pixels.h"
#include "server/engine/encoder.h"
#include "server/engine/pixel_table.h"
#include "server/model/model_spec.h"

namespace embedd {

class PixelStaging {
 public:
  // Of towers with patches of `patch` x `patch` pixels. `parts`: on cuda, through CudaPixels.
  PixelStaging(const ImageSpec& spec, int patch, at::Device device, at::ScalarType dtype, bool parts = false);

  // What `tower` makes of the images: float32 [m, embed_dim] on the device. m is images.size() on cpu;
  // elsewhere it is `count` (>= images.size()), the last images being black, since such devices compile or
  // cache per shape. Pixels are (v/255 - mean) / std, computed in f32 in this order, then cast. Throws what
  // LibTorch throws.
  at::Tensor Forward(const Encoder& tower, absl::Span<const uint8_t* const> images, int64_t count);

  // Of cuda with parts: see CudaPixels. Elsewhere, for pixels of 32 bits a value and for images of any shape,
  // nothing.
  void RecordGraphs(const Encoder& tower, absl::FunctionRef<void()> trim);
  void DropGraphs();

 private:
  // f32, of images with 32 bits a value.
  at::Tensor Normalized(absl::Span<const uint8_t* const> images, int64_t count) const;
  // Of images of any shape.
  at::Tensor ForwardGrids(const Encoder& tower, absl::Span<const uint8_t* const> images, int64_t count) const;
  at::Tensor CopyBytes(absl::Span<const uint8_t* const> images, int64_t count);

  const ImageSpec spec_;
  const int patch_;
  const at::Device device_;
  const at::ScalarType dtype_;
  const PixelTable table_;
  at::Tensor mean_, std_, scale_;     // on the device
  at::Tensor host_;                   // bytes on their way to the device; reused, grows to the largest batch
  std::unique_ptr<CudaPixels> cuda_;  // null but on cuda with parts
};

}  // namespace embedd
