// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cuda_pixels.h"

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "server/engine/parallel_for.h"
#include "server/engine/patches.h"
#include "server/engine/torch_error.h"

namespace embedd {
namespace {

// Images of a part: enough for the products to run at their best, and little enough that the copy of the
// first part, for which the card waits, is short.
constexpr int64_t kPart = 128;

c10::impl::VirtualGuardImpl Cuda() { return c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA); }

}  // namespace

void PinBytes(at::IntArrayRef shape, at::Tensor* buffer) {
  if (buffer->defined()) {
    *buffer = at::Tensor();
    DropUnusedPinned();
  }
  *buffer = at::empty(shape, at::dtype(at::kByte).pinned_memory(true));
}

void DropUnusedPinned() { at::getHostAllocator(at::kCUDA)->empty_cache(); }

CudaPixels::CudaPixels(const ImageSpec& spec, int patch, at::Device device, at::ScalarType dtype)
    : spec_(spec),
      patch_(patch),
      device_(device),
      dtype_(dtype),
      copies_(Cuda().getStreamFromGlobalPool(device, /*isHighPriority=*/true)) {
  const auto constant = [&](const std::array<float, 3>& values) {
    return at::tensor(at::ArrayRef<float>(values.data(), 3)).to(device);
  };
  mean_ = constant(spec.mean);
  std_ = constant(spec.std);
  scale_ = constant({255.0f, 255.0f, 255.0f});  // see PixelStaging
}

at::Tensor CudaPixels::Forward(const Encoder& tower, absl::Span<const uint8_t* const> images, int64_t count) {
  const auto graph = graphs_.find(count);
  const bool recorded = graph != graphs_.end();
  const at::Tensor bytes =
      recorded ? graph_bytes_.narrow(0, 0, count)
               : at::empty({count, 3, spec_.height, spec_.width}, at::dtype(at::kByte).device(device_));
  const c10::Stream compute = Cuda().getStream(device_);
  // A batch that failed half-way may still write where `bytes` lie now: the allocator knows one stream only.
  computed_.record(compute);
  computed_.block(copies_);
  // Also when a part throws: its bytes must not be handed to others while they are still written.
  const absl::Cleanup copied = [this] { (void)CatchTorch([this] { Cuda().synchronizeStream(copies_); }); };
  const int64_t parts = std::max<int64_t>(1, (count + kPart / 2) / kPart);
  const int64_t part = (count + parts - 1) / parts;
  std::vector<at::Tensor> rows;
  for (int64_t first = 0, turn = 0; first < count; first += part, ++turn) {
    const int64_t here = std::min(part, count - first);
    const auto given = static_cast<int64_t>(images.size());
    Slot& slot = slots_[static_cast<size_t>(turn) % slots_.size()];
    const at::Tensor target = bytes.narrow(0, first, here);
    CopyPart(images.subspan(std::min(first, given), std::clamp<int64_t>(given - first, 0, here)), slot,
             target);
    slot.copied.block(compute);
    if (recorded) {
      graph->second->Replay();
      return graph_rows_.narrow(0, 0, count);
    }
    rows.push_back(tower.ForwardPatches(Patches(target)));
  }
  return rows.size() == 1 ? rows[0] : at::cat(rows);
}

void CudaPixels::CopyPart(absl::Span<const uint8_t* const> images, Slot& slot, const at::Tensor& bytes) {
  const int64_t count = bytes.size(0), image_bytes = bytes.numel() / count;
  const auto given = static_cast<int64_t>(images.size());
  if (slot.copied.was_marked_for_recording()) slot.copied.synchronize();
  if (!slot.pinned.defined() || slot.pinned.size(0) < count) PinBytes(bytes.sizes(), &slot.pinned);
  const at::Tensor pinned = slot.pinned.narrow(0, 0, count);
  auto* const to = pinned.mutable_data_ptr<uint8_t>();
  ParallelFor(count, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i < given) std::memcpy(to + i * image_bytes, images[static_cast<size_t>(i)], image_bytes);
      if (i >= given) std::memset(to + i * image_bytes, 0, image_bytes);
    }
  });
  const c10::StreamGuard on_copies(copies_);
  at::Tensor target = bytes;
  target.copy_(pinned, /*non_blocking=*/true);
  slot.copied.record(copies_);
}

at::Tensor CudaPixels::Patches(const at::Tensor& bytes) const {
  return NormalizedPatches(bytes, scale_, mean_, std_, patch_, dtype_);
}

void CudaPixels::RecordGraphs(const Encoder& tower, absl::FunctionRef<void()> trim) {
  graph_bytes_ =
      at::zeros({kLargestGraph, 3, spec_.height, spec_.width}, at::dtype(at::kByte).device(device_));
  // The largest first: the others find room in its pool.
  for (int64_t count = kLargestGraph; count > 0; count /= 2) {
    const at::Tensor bytes = graph_bytes_.narrow(0, 0, count);
    {
      const at::Tensor rows = tower.ForwardPatches(Patches(bytes));
      if (!graph_rows_.defined()) graph_rows_ = at::zeros_like(rows);
    }
    trim();
    at::Tensor target = graph_rows_.narrow(0, 0, count);
    const DeviceGraph* before = graphs_.empty() ? nullptr : graphs_.begin()->second.get();
    graphs_[count] =
        std::make_unique<DeviceGraph>([&] { target.copy_(tower.ForwardPatches(Patches(bytes))); }, before);
  }
}

void CudaPixels::DropGraphs() {
  graphs_.clear();
  graph_bytes_ = graph_rows_ = at::Tensor();
}

}  // namespace embedd
