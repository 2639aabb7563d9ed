// SPDX-License-Identifier: Apache-2.0
//
// FakeMpsExecutor: an Executor whose tensors live on the fake MPS: real at::Tensors from the allocator of
// at::kMPS, in the sizes that the image tower of ViT-B-32 takes in f16. Its row of an image is a known
// function of the first pixel.

#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "server/device/executor.h"

namespace embedd {

class FakeMpsExecutor final : public Executor {
 public:
  static constexpr int kDimension = 4;

  explicit FakeMpsExecutor(std::unique_ptr<DeviceMemory> memory, int dimension = kDimension)
      : memory_(std::move(memory)), dimension_(dimension) {}

  absl::Status Load(Tower tower) override;
  absl::Status Offload() override;
  bool loaded(Tower tower) const override { return tower == Tower::kImage && !weights_.empty(); }
  absl::Status Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                   absl::Span<float> rows) override;
  void Synchronize() override {}
  DeviceMemory& memory() override { return *memory_; }
  int dimension() const override { return dimension_; }

  // Scripts.
  int64_t graph_bytes = 0;  // the first batch of each shape compiles a graph of this size
  int64_t leak_bytes = 0;   // kept by every batch
  int runs = 0;
  int out_of_memory = 0;

 private:
  std::unique_ptr<DeviceMemory> memory_;
  const int dimension_;
  std::vector<at::Tensor> weights_, leaked_;
};

}  // namespace embedd
