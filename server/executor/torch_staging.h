// SPDX-License-Identifier: Apache-2.0
//
// PixelStaging: puts prepared uint8 images on the device and normalises them there. On cpu it writes the
// floats straight from the images; elsewhere it copies bytes, a quarter of the size, and casts on the device.
// Part of TorchExecutor.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/types/span.h"
#include "server/model/model_spec.h"
#include "server/model/pixel_table.h"

namespace embedd {

class PixelStaging {
 public:
  PixelStaging(const ImageSpec& spec, at::Device device, at::ScalarType dtype);

  // Returns [count, 3, height, width] on the device: the images, then black ones up to `count` (>=
  // images.size()). Values are (v/255 - mean) / std, computed in f32 in this order, then cast. Throws what
  // LibTorch throws.
  at::Tensor Stage(absl::Span<const uint8_t* const> images, int64_t count);

 private:
  at::Tensor StageOnCpu(absl::Span<const uint8_t* const> images, int64_t count) const;
  at::Tensor CopyBytes(absl::Span<const uint8_t* const> images, int64_t count);

  const ImageSpec spec_;
  const at::Device device_;
  const at::ScalarType dtype_;
  const PixelTable table_;
  at::Tensor mean_, std_, scale_;  // on the device
  at::Tensor host_;                // bytes on their way to the device; reused, grows to the largest batch
};

}  // namespace embedd
