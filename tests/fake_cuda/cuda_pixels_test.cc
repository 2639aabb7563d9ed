// SPDX-License-Identifier: Apache-2.0
//
// The engine on a fake card: images that reach it in parts and by graphs have the rows that the cpu gives
// them, towers of every kind compute on one device alone, and a batch that fails half-way leaves nothing.

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "server/engine/calibration_pictures.h"
#include "server/engine/cuda_library.h"
#include "server/engine/encoder.h"
#include "server/engine/text_staging.h"
#include "server/engine/torch_error.h"
#include "server/engine/torch_staging.h"
#include "server/model/model_folder.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/support/catch.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

const at::Device kCuda(at::kCUDA, 0);
constexpr int kSide = 32, kPatch = 8;
// Numbers of rows of order one; the fake computes with other kernels than the cpu path does.
constexpr double kClose = 2e-5;

TowerConfig Small() {
  TowerConfig config;
  config.image_height = config.image_width = kSide;
  config.patch = kPatch;
  config.width = 64;
  config.layers = 2;
  config.heads = 2;
  config.mlp_width = 128;
  config.embed_dim = 16;
  return config;
}

ModelFolder RandomModel(const TempFolder& folder) {
  REQUIRE(WriteRandomModel(folder.path(), Small(), 9).ok());
  return ReadModelFolder(folder.path()).value();
}

// n different images.
struct Images {
  explicit Images(int n, uint32_t seed = 1) : bytes(static_cast<size_t>(n) * 3 * kSide * kSide) {
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<uint8_t>(((static_cast<uint32_t>(i) + seed * 977) * 2654435761u) >> 11);
    for (int i = 0; i < n; ++i) pointers.push_back(bytes.data() + static_cast<size_t>(i) * 3 * kSide * kSide);
  }
  std::vector<uint8_t> bytes;
  std::vector<const uint8_t*> pointers;
};

std::vector<float> Values(const at::Tensor& rows, int64_t n) {
  const at::Tensor host = rows.narrow(0, 0, n).to(at::kCPU, /*non_blocking=*/false).contiguous();
  return {host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel()};
}

double Largest(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    largest = difference <= largest ? largest : difference;  // NaN is the largest
  }
  return largest;
}

// A tower with what hands images to it.
struct Rig {
  Rig(const ModelFolder& model, at::Device device, bool parts)
      : tower(model.vision, model.weights, Encoder::Options{device}),
        staging(model.image, model.vision.patch, device, at::kFloat, parts) {}

  std::vector<float> Run(absl::Span<const uint8_t* const> images, int64_t bucket) {
    const auto n = static_cast<int64_t>(images.size());
    return Values(staging.Forward(tower, images, bucket), n);
  }

  const c10::InferenceMode no_gradients;
  Encoder tower;
  PixelStaging staging;
};

// The stream that graphs are recorded on.
struct OwnStream {
  OwnStream() : before(cuda.exchangeStream(cuda.getStreamFromGlobalPool(kCuda))) {}
  ~OwnStream() { cuda.exchangeStream(before); }
  const c10::impl::VirtualGuardImpl cuda{at::kCUDA};
  const c10::Stream before;
};

// The same random tower on the cpu, and on the device as it records graphs.
struct Recorded {
  TempFolder folder;
  const ModelFolder model = RandomModel(folder);
  Rig cpu{model, at::kCPU, false};
  const OwnStream own;
  Rig rig{model, kCuda, true};
};

TEST_CASE(
    "Images have their rows in a batch of any size, in one piece and in parts, one batch after another") {
  TempFolder folder;
  const ModelFolder model = RandomModel(folder);
  Rig cpu(model, at::kCPU, false);
  FakeCuda& cuda = FakeCuda::Get();
  for (const bool parts : {false, true}) {
    Rig rig(model, kCuda, parts);
    const int late = cuda.late_copies;
    const int64_t rest = cuda.live_bytes;
    // 191 are one part, 192 two; slots are used again by later parts and batches, larger and smaller.
    for (const auto& [n, bucket] :
         {std::pair(1, 1), {3, 4}, {191, 191}, {192, 192}, {300, 512}, {64, 64}, {7, 512}}) {
      INFO((parts ? "parts, " : "whole, ") << n << " of " << bucket);
      const Images images(n, static_cast<uint32_t>(n));
      CHECK(Largest(rig.Run(images.pointers, bucket), cpu.Run(images.pointers, n)) <= kClose);
      CHECK(cuda.live_bytes == rest);
    }
    CHECK((cuda.late_copies > late) == parts);
  }
  CHECK(cuda.mistakes.empty());
}

TEST_CASE("Recorded graphs give each batch its own rows, and go when they are dropped") {
  FakeCuda& cuda = FakeCuda::Get();
  Recorded both;
  Rig &cpu = both.cpu, &rig = both.rig;
  const int64_t without = cuda.live_bytes;
  int trims = 0;
  rig.staging.RecordGraphs(rig.tower, [&] { ++trims; });
  CHECK(trims > 0);
  const int64_t rest = cuda.live_bytes;
  CHECK(rest > without);
  for (const int round : {1, 2}) {
    for (const auto& [n, bucket] : {std::pair(1, 1), {2, 2}, {3, 4}, {32, 32}, {17, 32}, {40, 64}}) {
      INFO("round " << round << ", " << n << " of " << bucket);
      const int replays = cuda.replays;
      const Images images(n, static_cast<uint32_t>(100 * round + n));
      CHECK(Largest(rig.Run(images.pointers, bucket), cpu.Run(images.pointers, n)) <= kClose);
      CHECK(cuda.replays - replays == (bucket <= 32 ? 1 : 0));
      CHECK(cuda.live_bytes == rest);
    }
  }
  rig.staging.DropGraphs();
  CHECK(cuda.live_bytes == without);
  const Images images(2, 5);
  CHECK(Largest(rig.Run(images.pointers, 2), cpu.Run(images.pointers, 2)) <= kClose);
  CHECK(cuda.mistakes.empty());
}

TEST_CASE("A batch that finds no memory, wherever, leaves nothing behind, and the next one is right") {
  TempFolder folder;
  const ModelFolder model = RandomModel(folder);
  Rig cpu(model, at::kCPU, false);
  FakeCuda& cuda = FakeCuda::Get();
  Rig rig(model, kCuda, true);
  const Images images(400), others(150, 8);
  const std::vector<float> wanted = cpu.Run(others.pointers, 150);
  const int64_t rest = cuda.live_bytes;
  int failed = 0;
  for (int after = 0;; after += 7) {
    INFO("after " << after << " allocations");
    cuda.allocations_left = after;
    const absl::Status status = CatchTorch([&] { rig.Run(images.pointers, 400); });
    cuda.allocations_left = -1;
    CHECK(cuda.live_bytes == rest);
    CHECK(cuda.mistakes.empty());
    CHECK(Largest(rig.Run(others.pointers, 150), wanted) <= kClose);
    if (status.ok()) break;
    CHECK(absl::IsResourceExhausted(status));
    ++failed;
  }
  CHECK(failed > 20);  // in every part
}

TEST_CASE("A recording that finds no memory leaves a tower that works without graphs") {
  FakeCuda& cuda = FakeCuda::Get();
  Recorded both;
  Rig &cpu = both.cpu, &rig = both.rig;
  const int64_t rest = cuda.live_bytes;
  const Images images(2);
  const std::vector<float> wanted = cpu.Run(images.pointers, 2);
  // In what runs before, in the first recording, in a later one.
  for (const int after : {10, 60, 200}) {
    INFO("after " << after << " allocations");
    cuda.allocations_left = after;
    CHECK(absl::IsResourceExhausted(CatchTorch([&] { rig.staging.RecordGraphs(rig.tower, [] {}); })));
    CHECK(cuda.recording == nullptr);
    rig.staging.DropGraphs();
    CHECK(cuda.live_bytes == rest);
    CHECK(Largest(rig.Run(images.pointers, 2), wanted) <= kClose);
  }
  rig.staging.RecordGraphs(rig.tower, [] {});  // later there is memory
  const int replays = cuda.replays;
  CHECK(Largest(rig.Run(images.pointers, 2), wanted) <= kClose);
  CHECK(cuda.replays == replays + 1);
}

TEST_CASE("Images of any shape and texts compute on the device alone, masks and all") {
  TempFolder folder;
  REQUIRE(WriteNaflexModel(folder.path(), 9).ok());
  const ModelFolder naflex = ReadModelFolder(folder.path()).value();
  for (const bool parts : {false, true}) {
    Rig cpu(naflex, at::kCPU, false), rig(naflex, kCuda, parts);
    const auto pictures = CalibrationPictures(naflex.image, 20, 5);
    std::vector<const uint8_t*> pointers;
    pointers.reserve(pictures.size());
    for (const auto& picture : pictures) pointers.push_back(picture.data());
    CHECK(Largest(rig.Run(pointers, 32), cpu.Run(pointers, 20)) <= kClose);
  }

  const ModelFolder demo = ReadModelFolder(DEMO_MODEL).value();
  const TextTower& text = demo.text.value();
  std::vector<std::vector<int32_t>> ids(5);
  std::vector<const uint8_t*> pointers;
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i].assign(static_cast<size_t>(text.config.context_length), 0);
    for (size_t k = 0; k <= i + 2; ++k) ids[i][k] = static_cast<int32_t>(1 + 37 * k + i);
    ids[i][i + 3] = text.config.vocabulary - 1;
    pointers.push_back(reinterpret_cast<const uint8_t*>(ids[i].data()));
  }
  const c10::InferenceMode no_gradients;
  const auto rows = [&](at::Device device, int64_t count) {
    const Encoder tower(text.config, text.weights, Encoder::Options{device});
    return Values(ForwardTexts(tower, text.config, text.spec, pointers, count, device), 5);
  };
  CHECK(Largest(rows(kCuda, 8), rows(at::kCPU, 5)) <= kClose);
}

// Kinds of blocks, stems and pools that other model families have.
TEST_CASE("Towers of every family compute on the device alone") {
  std::vector<TowerConfig> all(8, Small());
  all[1].rope = {.kind = Rope::Kind::kNeighbours};
  all[2].rope = {.kind = Rope::Kind::kHalves, .theta = 100};
  all[2].registers = 4;
  all[2].positions = Positions::kNone;
  all[2].layer_scale = true;
  all[3].pool = Pool::kAttention;
  all[3].pool_heads = 4;
  all[3].pool_mlp_width = 96;
  all[3].class_token = false;
  all[3].positions = Positions::kPatches;
  all[4].pool = Pool::kAverage;
  all[4].patch_bias = true;
  all[5].gated_mlp = true;
  all[5].activation = Activation::kSilu;
  all[5].attention_norm = all[5].mlp_norm = true;
  all[6].rope = {.kind = Rope::Kind::kNeighbours};
  all[6].pool = Pool::kAverage;
  all[6].final_ln_after_pool = true;
  all[7].stem = Stem::kSteps;
  all[7].patch = 16;
  const Images images(3);
  for (const TowerConfig& config : all) {
    INFO(DescribeTower(config));
    auto tensors = RandomWeights(config, 4);
    TowerWeights weights;
    for (auto& [name, tensor] : tensors) {
      if (absl::StrContains(name, "running_var"))
        for (float& value : tensor.values) value = 1 + std::abs(value);
      const auto bytes = static_cast<int64_t>(tensor.values.size() * sizeof(float));
      weights.tensors[name] = {.shape = tensor.shape,
                               .parts = {{.type_name = "F32",
                                          .shape = tensor.shape,
                                          .data = reinterpret_cast<const uint8_t*>(tensor.values.data()),
                                          .bytes = bytes}}};
    }
    ModelFolder model;
    model.vision = config;
    model.weights = weights;
    model.image = {.height = kSide, .width = kSide};
    Rig cpu(model, at::kCPU, false), rig(model, kCuda, true);
    CHECK(Largest(rig.Run(images.pointers, 4), cpu.Run(images.pointers, 3)) <= kClose);
  }
}

TEST_CASE("The workspaces of products go with the last tower that is on a card") {
  FakeCuda& cuda = FakeCuda::Get();
  const int before = cuda.workspaces_cleared;
  auto first = std::make_unique<WorkspaceShare>(), second = std::make_unique<WorkspaceShare>();
  first.reset();
  CHECK(cuda.workspaces_cleared == before);  // the other card computes on
  second.reset();
  CHECK(cuda.workspaces_cleared == before + 1);
}

}  // namespace
}  // namespace embedd
