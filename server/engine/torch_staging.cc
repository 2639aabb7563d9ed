// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_staging.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#ifdef __APPLE__
#include <ATen/mps/MPSAllocatorInterface.h>
#endif

#include <algorithm>
#include <cstring>
#include <vector>

#include "server/engine/parallel_for.h"
#include "server/engine/patches.h"

namespace embedd {
namespace {

void WriteBytes(absl::Span<const uint8_t* const> images, int64_t count, int64_t image_bytes, uint8_t* out) {
  for (const uint8_t* image : images) {
    std::memcpy(out, image, image_bytes);
    out += image_bytes;
  }
  std::memset(out, 0, (count - static_cast<int64_t>(images.size())) * image_bytes);
}

#ifdef __APPLE__
// On unified memory the bytes can be written where the GPU reads them. Empty when this buffer is not shared.
at::Tensor CopyThroughAlias(absl::Span<const uint8_t* const> images, at::IntArrayRef shape,
                            at::Device device) {
  at::Tensor bytes = at::empty(shape, at::dtype(at::kByte).device(device));
  try {
    c10::Storage alias = at::mps::getIMPSAllocator()->getHostAliasStorage(bytes.storage());
    WriteBytes(images, shape[0], bytes.numel() / shape[0], static_cast<uint8_t*>(alias.mutable_data()));
  } catch (const c10::Error&) {
    return {};
  }
  return bytes;
}
#endif

}  // namespace

PixelStaging::PixelStaging(const ImageSpec& spec, int patch, at::Device device, at::ScalarType dtype,
                           bool parts)
    : spec_(spec), patch_(patch), device_(device), dtype_(dtype), table_(spec) {
  if (device.is_cpu()) return;
  if (device.is_cuda() && parts) {
    cuda_ = std::make_unique<CudaPixels>(spec, patch, device, dtype);
    return;
  }
  const auto constant = [&](const std::array<float, 3>& values) {
    return at::tensor(at::ArrayRef<float>(values.data(), 3)).view({1, 3, 1, 1}).to(device);
  };
  mean_ = constant(spec.mean);
  std_ = constant(spec.std);
  scale_ = constant(
      {255.0f, 255.0f, 255.0f});  // a tensor, since a plain number may be turned into a product with 1/255
}

at::Tensor PixelStaging::Forward(const Encoder& tower, absl::Span<const uint8_t* const> images,
                                 int64_t count) {
  if (spec_.resize_mode == ResizeMode::kPatches) return ForwardGrids(tower, images, count);
  if (spec_.resize_kind == ResizeKind::kFloat) return tower.Forward(Normalized(images, count).to(dtype_));
  if (device_.is_cpu()) {
    return tower.Forward(static_cast<int64_t>(images.size()), [&](int64_t first, int64_t part) {
      return NormalizedPatches(images.subspan(first, part), spec_, table_, patch_).to(dtype_);
    });
  }
  if (cuda_ != nullptr) return cuda_->Forward(tower, images, count);
  at::Tensor pixels = CopyBytes(images, count).to(at::kFloat);
  return tower.Forward(pixels.div_(scale_).sub_(mean_).div_(std_).to(dtype_));
}

void PixelStaging::RecordGraphs(const Encoder& tower, absl::FunctionRef<void()> trim) {
  const bool same_bytes =
      spec_.resize_mode != ResizeMode::kPatches && spec_.resize_kind != ResizeKind::kFloat;
  if (cuda_ != nullptr && same_bytes) cuda_->RecordGraphs(tower, trim);
}

void PixelStaging::DropGraphs() {
  if (cuda_ != nullptr) cuda_->DropGraphs();
}

at::Tensor PixelStaging::Normalized(absl::Span<const uint8_t* const> images, int64_t count) const {
  const int64_t n = static_cast<int64_t>(images.size()), rows = device_.is_cpu() ? n : count;
  const int64_t plane = int64_t{spec_.height} * spec_.width;
  at::Tensor pixels = at::zeros({rows, 3, spec_.height, spec_.width}, at::kFloat);
  float* const out = pixels.mutable_data_ptr<float>();
  ParallelFor(n * 3, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* in = images[i / 3] + i % 3 * plane * 4;
      const float mean = spec_.mean[i % 3], std = spec_.std[i % 3];
      for (int64_t k = 0; k < plane; ++k) {
        uint32_t value = 0;
        std::memcpy(&value, in + 4 * k, sizeof(value));
        out[i * plane + k] = (static_cast<float>(value) * (1.0f / 4294967295.0f) - mean) / std;
      }
    }
  });
  return device_.is_cpu() ? pixels : pixels.to(device_, /*non_blocking=*/false);
}

// What fills up a batch is one grey patch.
at::Tensor PixelStaging::ForwardGrids(const Encoder& tower, absl::Span<const uint8_t* const> images,
                                      int64_t count) const {
  const int64_t n = static_cast<int64_t>(images.size()), rows = device_.is_cpu() ? n : count;
  std::vector<PatchGrid> grids;
  grids.reserve(static_cast<size_t>(rows));
  for (const uint8_t* image : images) grids.push_back(PatchGrid::Read(image));
  grids.resize(static_cast<size_t>(rows));
  const auto patches = [&](int64_t first, int64_t part) {
    const auto given = images.subspan(std::min(first, n), std::clamp<int64_t>(n - first, 0, part));
    return NormalizedGrids(given, part, spec_, table_).to(device_, /*non_blocking=*/false).to(dtype_);
  };
  return tower.Forward(rows, patches, grids);
}

at::Tensor PixelStaging::CopyBytes(absl::Span<const uint8_t* const> images, int64_t count) {
  const int64_t shape[] = {count, 3, spec_.height, spec_.width};
  const int64_t image_bytes = 3 * int64_t{spec_.height} * spec_.width;
#ifdef __APPLE__
  if (at::Tensor bytes = CopyThroughAlias(images, shape, device_); bytes.defined()) return bytes;
#endif
  if (!host_.defined() || host_.size(0) < count) {
    if (device_.is_cuda()) {
      PinBytes(shape, &host_);
    } else {
      host_ = at::empty(shape, at::kByte);
    }
  }
  const at::Tensor bytes = host_.narrow(0, 0, count);
  WriteBytes(images, count, image_bytes, bytes.mutable_data_ptr<uint8_t>());
  return bytes.to(device_, /*non_blocking=*/false);
}

}  // namespace embedd
