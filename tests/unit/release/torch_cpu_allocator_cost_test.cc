// SPDX-License-Identifier: Apache-2.0
//
// What counting costs. Run by hand: `unit_release_torch "[benchmark]"`. It runs the operations of one
// ViT-B-32 image batch on random weights, counts how often they allocate, and times an allocation of each of
// those sizes on its own; cost = calls x time of one allocation and free, against the time of the batch.

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "server/release/torch_cpu_allocator.h"
#include "server/support/clock.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int kWidth = 768, kHeads = 12, kTokens = 50, kLayers = 12;

struct Layer {
  at::Tensor norm1, norm2, qkv, qkv_bias, out, out_bias, up, up_bias, down, down_bias;
};

std::vector<Layer> MakeTower() {
  std::vector<Layer> tower;
  for (int i = 0; i < kLayers; ++i) {
    const auto weight = [](int64_t a, int64_t b) { return at::randn({a, b}) * 0.02; };
    tower.push_back({at::ones({kWidth}), at::ones({kWidth}), weight(3 * kWidth, kWidth),
                     at::zeros({3 * kWidth}), weight(kWidth, kWidth), at::zeros({kWidth}),
                     weight(4 * kWidth, kWidth), at::zeros({4 * kWidth}), weight(kWidth, 4 * kWidth),
                     at::zeros({kWidth})});
  }
  return tower;
}

at::Tensor Forward(const std::vector<Layer>& tower, const at::Tensor& patch, const at::Tensor& pixels) {
  const int64_t n = pixels.size(0);
  at::Tensor x = at::conv2d(pixels, patch, {}, 32).flatten(2).transpose(1, 2).contiguous();
  x = at::cat({at::zeros({n, 1, kWidth}), x}, 1);
  for (const Layer& layer : tower) {
    const at::Tensor qkv = at::linear(at::layer_norm(x, {kWidth}, layer.norm1), layer.qkv, layer.qkv_bias);
    const auto parts = qkv.view({n, kTokens, 3, kHeads, kWidth / kHeads}).permute({2, 0, 3, 1, 4}).unbind(0);
    const at::Tensor attention = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
    x = x + at::linear(attention.transpose(1, 2).reshape({n, kTokens, kWidth}), layer.out, layer.out_bias);
    const at::Tensor hidden = at::linear(at::layer_norm(x, {kWidth}, layer.norm2), layer.up, layer.up_bias);
    x = x + at::linear(at::gelu(hidden), layer.down, layer.down_bias);
  }
  return x.select(1, 0).clone();
}

double Seconds(const std::function<void()>& work) {
  const absl::Time start = Clock::Real()->TimeNow();
  work();
  return absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

TEST_CASE("counting costs less than one percent of a ViT-B-32 batch", "[.][benchmark]") {
  const c10::InferenceMode no_grad;
  constexpr size_t kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  CountingCpuAllocator& counting = CountingCpuAllocator::Install();
  const std::vector<Layer> tower = MakeTower();
  const at::Tensor patch = at::randn({kWidth, 3, 32, 32}) * 0.02;
  for (const int64_t n : {1, 16}) {
    const at::Tensor pixels = at::randn({n, 3, 224, 224});
    const auto batch = [&] { Forward(tower, patch, pixels); };
    batch();
    counting.resetAccumulatedStats(0);
    batch();
    const auto stats = counting.getDeviceStats(0);
    const int64_t calls = stats.allocation[kAll].allocated;
    const auto bytes =
        static_cast<size_t>(stats.requested_bytes[kAll].allocated / std::max<int64_t>(calls, 1));
    std::vector<double> counted, plain;
    for (int round = 0; round < 9; ++round) {
      c10::SetCPUAllocator(&counting, 100);
      counted.push_back(Seconds(batch));
      c10::SetCPUAllocator(c10::GetDefaultCPUAllocator(), 100);
      plain.push_back(Seconds(batch));
    }
    c10::SetCPUAllocator(&counting, 100);
    constexpr int kRepeats = 100'000;
    const double each = Seconds([&] {
                          for (int i = 0; i < kRepeats; ++i) counting.allocate(bytes);
                        }) /
                        kRepeats;
    const double share = each * static_cast<double>(calls) / Median(counted);
    std::printf(
        "batch %2d: %lld allocations of %zu bytes on average, %.0f ns each: %.4f %% of the batch; batch %.2f "
        "ms "
        "counted, %.2f ms with LibTorch's own allocator\n",
        static_cast<int>(n), static_cast<long long>(calls), bytes, each * 1e9, share * 100,
        Median(counted) * 1e3, Median(plain) * 1e3);
    CHECK(share < 0.01);
  }
}

}  // namespace
}  // namespace embedd
