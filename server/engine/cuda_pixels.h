// SPDX-License-Identifier: Apache-2.0
//
// CudaPixels: hands prepared uint8 images to the tower on an NVIDIA card. Bytes cross the bus, a quarter of
// the size, from pinned memory and on a stream of their own: while one part of a batch is computed, the next
// is gathered and copied. Small batches may be launched as one (DeviceGraph). Part of PixelStaging.

#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/engine/device_graph.h"
#include "server/engine/encoder.h"
#include "server/model/model_spec.h"

namespace embedd {

// Pinned bytes in `*buffer`, which crosses the bus about twice as fast. LibTorch keeps every size that was
// ever pinned, rounded up to a power of two: what the buffer was before goes back to the system first.
void PinBytes(at::IntArrayRef shape, at::Tensor* buffer);
// Gives pinned memory that nobody holds back to the system.
void DropUnusedPinned();

class CudaPixels {
 public:
  // Of towers with patches of `patch` x `patch` pixels. Runs on the calling thread's stream.
  CudaPixels(const ImageSpec& spec, int patch, at::Device device, at::ScalarType dtype);

  // See PixelStaging::Forward. What it returns is overwritten by the next call.
  at::Tensor Forward(const Encoder& tower, absl::Span<const uint8_t* const> images, int64_t count);

  // Records graphs for the batches of 1, 2, 4 to kLargestGraph images: what they and their inputs take stays
  // on the device until this object goes. `trim` gives the allocator's cache back: while it records, the
  // allocator cannot. Throws what DeviceGraph throws.
  void RecordGraphs(const Encoder& tower, absl::FunctionRef<void()> trim);
  void DropGraphs();

  // From here on the card takes longer than the processor needs to launch the kernels one by one.
  static constexpr int64_t kLargestGraph = 32;

 private:
  // A part of a batch on its way: pinned, and free again when its copy is over.
  struct Slot {
    at::Tensor pinned;
    c10::Event copied{c10::DeviceType::CUDA};
  };
  void CopyPart(absl::Span<const uint8_t* const> images, Slot& slot, const at::Tensor& bytes);
  // uint8 [n, 3, height, width] to what the tower's first product takes, normalised.
  at::Tensor Patches(const at::Tensor& bytes) const;

  const ImageSpec spec_;
  const int patch_;
  const at::Device device_;
  const at::ScalarType dtype_;
  const c10::Stream copies_;
  std::array<Slot, 2> slots_;
  c10::Event computed_{c10::DeviceType::CUDA};  // what was launched before the batch
  at::Tensor mean_, std_, scale_;               // on the device

  at::Tensor graph_bytes_, graph_rows_;  // of the largest; smaller ones use the first images of it
  std::map<int64_t, std::unique_ptr<DeviceGraph>> graphs_;
};

}  // namespace embedd
