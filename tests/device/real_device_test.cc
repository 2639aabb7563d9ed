// SPDX-License-Identifier: Apache-2.0
//
// What the executor promises of a device, on the device that EMBEDD_TEST_DEVICE names (default cpu): the
// CPU's vectors in every number format, all memory of every batch given back, a limit that is kept, weights
// that leave and come back, a loss that is told.

#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "server/engine/torch_device.h"
#include "server/engine/torch_executor.h"
#include "server/model/model_folder.h"
#include "server/release/batch_memory.h"
#include "server/release/torch_device_memory.h"
#include "tests/support/catch.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

DeviceKind DeviceUnderTest() {
  const char* name = std::getenv("EMBEDD_TEST_DEVICE");
  return name == nullptr ? DeviceKind::kCpu : ValueIn(kDeviceKinds, name).value();
}

int64_t LimitUnderTest() {
  const char* bytes = std::getenv("EMBEDD_TEST_LIMIT");
  return bytes == nullptr ? 0 : std::atoll(bytes);
}

TowerConfig Small() {
  TowerConfig config;
  config.image_height = config.image_width = 64;
  config.patch = 16;
  config.width = 128;
  config.layers = 3;
  config.heads = 2;
  config.mlp_width = 512;
  config.embed_dim = 64;
  return config;
}

constexpr int kSide = 64;
constexpr int kMost = 64;
// Elsewhere than on cuda they are all the same.
constexpr CudaPipeline kPipelines[] = {CudaPipeline::kOff, CudaPipeline::kCopies, CudaPipeline::kGraphs};

std::string Word(CudaPipeline pipeline) { return std::string(RowIn(kCudaPipelines, pipeline).word); }

// A model of random weights on a device.
struct Rig {
  explicit Rig(DeviceKind device, Dtype dtype = Dtype::kF32, CudaPipeline pipeline = CudaPipeline::kOff) {
    REQUIRE(DeviceAvailable(device).ok());
    REQUIRE(WriteRandomModel(folder.path(), Small(), /*seed=*/5).ok());
    auto model = ReadModelFolder(folder.path());
    REQUIRE(model.ok());
    auto memory = CreateTorchDeviceMemory(device, LimitUnderTest());
    INFO(memory.status());
    REQUIRE(memory.ok());
    auto made =
        TorchExecutor::Create(*std::move(model), *std::move(memory),
                              {.device = device, .dtype = dtype, .threads = 1, .cuda_pipeline = pipeline});
    INFO(made.status());
    REQUIRE(made.ok());
    executor = *std::move(made);
    const absl::Status loaded = executor->Load(Tower::kImage);
    INFO(loaded);
    REQUIRE(loaded.ok());
    pixels.resize(size_t{kMost} * 3 * kSide * kSide);
    std::mt19937 random(7);
    for (uint8_t& value : pixels) value = static_cast<uint8_t>(random());
  }

  // Images [first, first + n), wrapped round, in a batch of that size or of `bucket`; the bytes of the batch
  // in `bytes`.
  absl::StatusOr<std::vector<float>> Run(int first, int n, int bucket = 0) {
    std::vector<const uint8_t*> images;
    for (int i = 0; i < n; ++i) {
      images.push_back(pixels.data() + static_cast<size_t>((first + i) % kMost) * 3 * kSide * kSide);
    }
    std::vector<float> rows(static_cast<size_t>(n) * static_cast<size_t>(executor->dimension()));
    BatchMemory scope(&executor->memory());
    const absl::Status status =
        executor->Run(Tower::kImage, images, std::max(n, bucket), absl::MakeSpan(rows));
    bytes = scope.End();
    if (!status.ok()) return status;
    return rows;
  }

  TempFolder folder;
  std::unique_ptr<TorchExecutor> executor;
  std::vector<uint8_t> pixels;
  BatchBytes bytes;
};

// Largest difference of the numbers of unit vectors.
double UnitDifference(const std::vector<float>& a, const std::vector<float>& b, size_t dimension) {
  double worst = 0;
  for (size_t row = 0; row < a.size(); row += dimension) {
    double aa = 0, bb = 0;
    for (size_t i = row; i < row + dimension; ++i) aa += double{a[i]} * a[i], bb += double{b[i]} * b[i];
    for (size_t i = row; i < row + dimension; ++i) {
      worst = std::max(worst, std::abs(a[i] / std::sqrt(aa) - b[i] / std::sqrt(bb)));
    }
  }
  return worst;
}

TEST_CASE("The device computes what the CPU computes in f32, as near as its number format allows") {
  Rig cpu(DeviceKind::kCpu);
  const std::vector<float> truth = cpu.Run(0, kMost).value();
  const auto dimension = static_cast<size_t>(cpu.executor->dimension());
  for (const auto& [dtype, bound] :
       {std::pair(Dtype::kF32, 2e-6), std::pair(Dtype::kF16, 5e-3), std::pair(Dtype::kBf16, 4e-2)}) {
    for (const CudaPipeline pipeline : kPipelines) {
      INFO(DtypeWord(dtype) << " " << Word(pipeline));
      Rig rig(DeviceUnderTest(), dtype, pipeline);
      CHECK(UnitDifference(rig.Run(0, kMost).value(), truth, dimension) <= bound);
      for (const auto& [n, bucket] : {std::pair(1, 1), {2, 2}, {3, 4}, {20, 32}}) {
        const auto end = truth.begin() + n * static_cast<std::ptrdiff_t>(dimension);
        CHECK(UnitDifference(rig.Run(0, n, bucket).value(), {truth.begin(), end}, dimension) <= bound);
      }
    }
  }
}

TEST_CASE("A large batch, which may go in parts, has the rows of its images in their order") {
  Rig cpu(DeviceKind::kCpu);
  const std::vector<float> once = cpu.Run(0, kMost).value();
  const auto dimension = static_cast<size_t>(cpu.executor->dimension());
  for (const CudaPipeline pipeline : kPipelines) {
    Rig rig(DeviceUnderTest(), Dtype::kF32, pipeline);
    for (const auto& [n, bucket] : {std::pair(191, 191), {300, 512}, {450, 450}, {257, 512}}) {
      INFO(Word(pipeline) << ", " << n << " of " << bucket);
      std::vector<float> truth;
      while (truth.size() < static_cast<size_t>(n) * dimension)
        truth.insert(truth.end(), once.begin(), once.end());
      truth.resize(static_cast<size_t>(n) * dimension);
      CHECK(UnitDifference(rig.Run(0, n, bucket).value(), truth, dimension) <= 2e-6);
      CHECK(rig.bytes.unreleased() == 0);
    }
  }
}

TEST_CASE("2,000 batches of random sizes: each gives back all that it took, and every vector is right") {
  const CudaPipeline pipeline = GENERATE(CudaPipeline::kOff, CudaPipeline::kGraphs);
  INFO(Word(pipeline));
  Rig rig(DeviceUnderTest(), Dtype::kF32, pipeline);
  const auto dimension = static_cast<size_t>(rig.executor->dimension());
  const std::vector<float> truth = rig.Run(0, kMost).value();
  std::mt19937 random(11);
  int kept = 0, wrong = 0;
  int64_t highest = 0;
  for (int batch = 0; batch < 2000; ++batch) {
    const int n = 1 + static_cast<int>(random() % (batch % 10 == 0 ? kMost : 8));
    const int first = static_cast<int>(random() % static_cast<unsigned>(kMost - n + 1));
    const std::vector<float> rows = rig.Run(first, n).value();
    kept += rig.bytes.unreleased() != 0;
    highest = std::max(highest, rig.bytes.peak);
    const auto* from = truth.data() + static_cast<size_t>(first) * dimension;
    wrong += UnitDifference(rows, {from, from + rows.size()}, dimension) > 2e-6;
  }
  CHECK(kept == 0);
  CHECK(wrong == 0);
  CHECK(highest <= rig.executor->memory().Read().limit);
  CHECK(rig.executor->memory().CheckSane().ok());
}

TEST_CASE("The weights leave the device and come back to the same vectors") {
  const CudaPipeline pipeline = GENERATE(CudaPipeline::kOff, CudaPipeline::kGraphs);
  INFO(Word(pipeline));
  Rig rig(DeviceUnderTest(), Dtype::kF32, pipeline);
  const std::vector<float> before = rig.Run(0, 8).value();
  const int64_t rest = rig.executor->memory().Read().allocated;
  for (int round = 0; round < 3; ++round) {
    REQUIRE(rig.executor->Offload().ok());
    CHECK(rig.executor->memory().Read().allocated < rest / 4);
    REQUIRE(rig.executor->Load(Tower::kImage).ok());
    CHECK(rig.executor->memory().Read().allocated == rest);
    CHECK(rig.Run(0, 8).value() == before);
  }
}

TEST_CASE("A batch that the limit does not allow fails as out of memory and leaves nothing; half of it runs",
          "[limit]") {
  if (LimitUnderTest() == 0) SUCCEED("EMBEDD_TEST_LIMIT is not set: there is no limit to meet");
  if (LimitUnderTest() == 0) return;
  const CudaPipeline pipeline = GENERATE(CudaPipeline::kOff, CudaPipeline::kCopies, CudaPipeline::kGraphs);
  INFO(Word(pipeline));
  Rig rig(DeviceUnderTest(), Dtype::kF32, pipeline);
  int n = 1;
  absl::Status status;
  // Without end, since the limit is the device's own business: some batch is the first that does not fit.
  while ((status = rig.Run(0, n).status()).ok() && n < (1 << 20)) n *= 2;
  INFO(status << " at " << n);
  REQUIRE(absl::IsResourceExhausted(status));
  CHECK(rig.bytes.unreleased() == 0);
  rig.executor->Synchronize();
  rig.executor->memory().Trim();
  CHECK(rig.Run(0, n / 2).ok());
  CHECK(rig.executor->memory().Read().peak <= rig.executor->memory().Read().limit);
}

// Hidden, since the process has no device afterwards: asked for by name, alone.
TEST_CASE("After a kernel that failed on the device every batch says that the device is lost", "[.lost]") {
  if (DeviceUnderTest() != DeviceKind::kCuda) SUCCEED("only CUDA checks indices on the device");
  if (DeviceUnderTest() != DeviceKind::kCuda) return;
  Rig rig(DeviceKind::kCuda);
  REQUIRE(rig.Run(0, 4).ok());
  const auto on_device = at::TensorOptions().device(at::kCUDA);
  (void)at::embedding(at::zeros({4, 4}, on_device), at::full({1}, 1 << 20, on_device.dtype(at::kLong)));
  for (int batch = 0; batch < 3; ++batch) {
    const absl::Status status = rig.Run(0, 4).status();
    INFO(status);
    CHECK(absl::IsUnavailable(status));
  }
}

}  // namespace
}  // namespace embedd
