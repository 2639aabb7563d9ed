// SPDX-License-Identifier: Apache-2.0

#include "tests/fake_mps/fake_mps_executor.h"

#include <ATen/EmptyTensor.h>
#include <c10/core/Allocator.h>

#include "absl/strings/str_cat.h"
#include "server/engine/torch_error.h"
#include "tests/fake_mps/fake_mps.h"

namespace embedd {
namespace {

constexpr int64_t kWidth = 768, kTokens = 50, kLayers = 12;

// A tensor without bytes; `bytes` of the device.
at::Tensor Take(int64_t bytes) {
  return at::detail::empty_generic({bytes}, c10::GetAllocator(c10::DeviceType::MPS),
                                   c10::DispatchKeySet(c10::DispatchKey::MPS), at::kByte, std::nullopt);
}

}  // namespace

absl::Status FakeMpsExecutor::Load(Tower tower) {
  if (tower != Tower::kImage) return absl::UnimplementedError("the fake has an image tower only");
  return CatchTorch([this] {
    if (!weights_.empty()) return;
    std::vector<at::Tensor> weights;
    weights.push_back(Take(kWidth * 3 * 32 * 32 * 2));
    for (int layer = 0; layer < kLayers; ++layer) {
      for (const int64_t elements :
           {3 * kWidth * kWidth, kWidth * kWidth, 4 * kWidth * kWidth, 4 * kWidth * kWidth}) {
        weights.push_back(Take(elements * 2));
      }
    }
    weights_ = std::move(weights);
  });
}

absl::Status FakeMpsExecutor::Offload() {
  weights_.clear();
  memory_->Trim();
  return absl::OkStatus();
}

absl::Status FakeMpsExecutor::Run(Tower, absl::Span<const uint8_t* const> inputs, int bucket,
                                  absl::Span<float> rows) {
  ++runs;
  const absl::Status status = CatchTorch([&] {
    const int64_t n = bucket;
    const at::Tensor bytes = Take(n * 3 * 224 * 224);
    at::Tensor x = Take(n * kTokens * kWidth * 2);
    if (graph_bytes > 0) FakeMps::Get().CompileGraph(absl::StrCat(n, "x3x224x224"), graph_bytes);
    for (int layer = 0; layer < kLayers; ++layer) {
      const at::Tensor qkv = Take(n * kTokens * 3 * kWidth * 2);
      const at::Tensor scores = Take(n * 12 * kTokens * kTokens * 4);
      const at::Tensor hidden = Take(n * kTokens * 4 * kWidth * 2);
      x = Take(n * kTokens * kWidth * 2);
    }
    if (leak_bytes > 0) leaked_.push_back(Take(leak_bytes));
    for (size_t i = 0; i < inputs.size(); ++i) {
      float* row = rows.data() + i * static_cast<size_t>(dimension_);
      for (int k = 0; k < dimension_; ++k) row[k] = static_cast<float>(inputs[i][0] + k + 1);
    }
  });
  out_of_memory += absl::IsResourceExhausted(status) ? 1 : 0;
  return status;
}

}  // namespace embedd
