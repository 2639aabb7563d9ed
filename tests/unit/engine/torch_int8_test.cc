// SPDX-License-Identifier: Apache-2.0
//
// int8 on any x86 processor: without VNNI or AMX inputs have seven bits, and the bounds here hold for both.
// On others it is refused, and nothing of it can run.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "server/engine/calibration_pictures.h"
#include "server/engine/cosine.h"
#include "server/engine/cpu_features.h"
#include "server/engine/torch_device.h"
#include "server/engine/torch_executor.h"
#include "tests/support/captured_stderr.h"
#include "tests/support/catch.h"
#include "tests/support/no_device_memory.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

#ifdef __x86_64__
using Weights = std::map<std::string, HostTensor>;

TowerConfig Modest() {
  TowerConfig config;
  config.image_height = config.image_width = 64;
  config.patch = 16;
  config.width = 128;
  config.layers = 4;
  config.heads = 4;
  config.mlp_width = 512;
  config.embed_dim = 64;
  return config;
}

// Every option that int8 must follow.
std::vector<TowerConfig> Variants() {
  std::vector<TowerConfig> all(5, Modest());
  all[1].activation = Activation::kQuickGelu;
  all[2].activation = Activation::kGeluTanh;
  all[2].pool = Pool::kAverage;
  all[3].layer_scale = true;
  all[4].mlp_width = 200;
  all[4].image_height = 40;
  return all;
}

ModelFolder Write(const TempFolder& folder, const TowerConfig& config, Weights weights = {}) {
  REQUIRE(WriteRandomModel(folder.path(), config, 3).ok());
  if (!weights.empty()) {
    Weights named;
    for (auto& [name, tensor] : weights) named["visual." + name] = std::move(tensor);
    REQUIRE(WriteSafetensors(folder.path() + "/open_clip_model.safetensors", named).ok());
  }
  auto model = ReadModelFolder(folder.path());
  REQUIRE(model.ok());
  return *std::move(model);
}

std::unique_ptr<TorchExecutor> Make(const std::string& folder, Dtype dtype, double min_cosine = 0.99) {
  auto model = ReadModelFolder(folder);
  REQUIRE(model.ok());
  auto executor = TorchExecutor::Create(
      *std::move(model), std::make_unique<NoDeviceMemory>(),
      {.dtype = dtype, .threads = 1, .int8_min_cosine = min_cosine, .int8_anywhere = true});
  REQUIRE(executor.ok());
  return *std::move(executor);
}

// Of pictures that neither the calibration nor the check at the start has seen.
std::vector<float> Rows(TorchExecutor& executor) {
  const auto pictures = CalibrationPictures(executor.spec().image, 12, 77);
  std::vector<const uint8_t*> pointers;
  for (const auto& picture : pictures) pointers.push_back(picture.data());
  std::vector<float> rows(pictures.size() * static_cast<size_t>(executor.dimension()));
  const absl::Status status = executor.Run(Tower::kImage, pointers, 12, absl::MakeSpan(rows));
  INFO(status);
  REQUIRE(status.ok());
  return rows;
}

double LeastCosine(const std::vector<float>& a, const std::vector<float>& b, int dimension) {
  double least = 1;
  for (size_t at = 0; at < a.size(); at += static_cast<size_t>(dimension)) {
    least = std::min(least, Cosine(&a[at], &b[at], static_cast<size_t>(dimension)));
  }
  return least;
}

TEST_CASE("int8 gives nearly the vectors of f32, for every option of a tower, and has its own fingerprint") {
  for (const TowerConfig& config : Variants()) {
    INFO(DescribeTower(config));
    const TempFolder folder;
    Write(folder, config);
    const auto f32 = Make(folder.path(), Dtype::kF32), int8 = Make(folder.path(), Dtype::kInt8);
    REQUIRE(f32->Load(Tower::kImage).ok());
    const absl::Status loaded = int8->Load(Tower::kImage);
    INFO(loaded);
    REQUIRE(loaded.ok());
    const std::vector<float> wanted = Rows(*f32), got = Rows(*int8);
    const double least = LeastCosine(wanted, got, config.embed_dim);
    CHECK(least >= 0.995);
    CHECK(least < 1 - 1e-8);  // or it was f32 that ran
    REQUIRE(int8->int8_accuracy().has_value());
    CHECK(int8->int8_accuracy()->least_cosine >= 0.995);
    CHECK(int8->int8_accuracy()->mean_cosine >= int8->int8_accuracy()->least_cosine);
    CHECK_FALSE(f32->int8_accuracy().has_value());
    CHECK(int8->spec().dtype == Dtype::kInt8);
    CHECK(int8->spec().fingerprint != f32->spec().fingerprint);
  }
}

TEST_CASE("int8 gives nearly the vectors of f32 for images of any shape") {
  const TempFolder folder;
  REQUIRE(WriteNaflexModel(folder.path(), 3).ok());
  const auto f32 = Make(folder.path(), Dtype::kF32), int8 = Make(folder.path(), Dtype::kInt8);
  REQUIRE(f32->Load(Tower::kImage).ok());
  const absl::Status loaded = int8->Load(Tower::kImage);
  INFO(loaded);
  REQUIRE(loaded.ok());
  const double least = LeastCosine(Rows(*f32), Rows(*int8), 64);
  CHECK(least >= 0.99);
  CHECK(least < 1 - 1e-8);
}

TEST_CASE("A few channels that are much larger than the others cost int8 no accuracy") {
  // Trained towers have such channels. Here LayerNorm makes three of them 40 times as large and the next
  // weights make up for it: the vectors are those of the model without.
  const TowerConfig config = Modest();
  Weights weights = RandomWeights(config, 3);
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string block = "transformer.resblocks." + std::to_string(layer);
    for (const auto& [norm, next] :
         {std::pair{".ln_1", ".attn.in_proj_weight"}, {".ln_2", ".mlp.c_fc.weight"}}) {
      for (const size_t channel : {5u, 64u, 100u}) {
        weights.at(block + norm + ".weight").values[channel] *= 40;
        weights.at(block + norm + ".bias").values[channel] *= 40;
        std::vector<float>& columns = weights.at(block + next).values;
        for (size_t at = channel; at < columns.size(); at += 128) columns[at] /= 40;
      }
    }
  }
  const TempFolder folder;
  Write(folder, config, std::move(weights));
  const auto f32 = Make(folder.path(), Dtype::kF32), int8 = Make(folder.path(), Dtype::kInt8);
  REQUIRE(f32->Load(Tower::kImage).ok());
  REQUIRE(int8->Load(Tower::kImage).ok());
  CHECK(LeastCosine(Rows(*f32), Rows(*int8), config.embed_dim) >= 0.995);
}

TEST_CASE("A model that loses more than --int8-min-cosine is not served, and the error says the figure") {
  const TempFolder folder;
  Write(folder, Modest());
  const auto executor = Make(folder.path(), Dtype::kInt8, 1);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const absl::Status refused = executor->Load(Tower::kImage);
    CHECK(refused.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(refused.message()), ContainsSubstring("0.99") &&
                                                   ContainsSubstring("--int8-min-cosine 1;") &&
                                                   ContainsSubstring("--dtype f32"));
  }
}

TEST_CASE("int8 weights leave and come back without a second calibration, the rows the same to the bit") {
  const TempFolder folder;
  Write(folder, Modest());
  const auto executor = Make(folder.path(), Dtype::kInt8);
  REQUIRE(executor->Load(Tower::kImage).ok());
  const std::vector<float> before = Rows(*executor);
  REQUIRE(executor->Offload().ok());
  CapturedStderr log;
  REQUIRE(executor->Load(Tower::kImage).ok());
  CHECK(log.Lines().empty());  // the calibration would say so
  CHECK(Rows(*executor) == before);
}

#endif

TEST_CASE("int8 where it cannot run is refused with what is missing and what to use") {
  const absl::Status no_vnni = CheckDtype(Dtype::kInt8, DeviceKind::kCpu, false),
                     cuda = CheckDtype(Dtype::kInt8, DeviceKind::kCuda, true);
  CHECK(no_vnni.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(no_vnni.message()),
             ContainsSubstring("VNNI") && ContainsSubstring("AMX") && ContainsSubstring("--dtype f32"));
  CHECK(cuda.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(cuda.message()),
             ContainsSubstring("not on cuda") && ContainsSubstring("--device cpu"));
  CHECK(CheckDtype(Dtype::kInt8, DeviceKind::kCpu, true).ok());
  CHECK(CheckDtype(Dtype::kF32, DeviceKind::kCpu, false).ok());
  CHECK(CheckDtype(Dtype::kAuto, DeviceKind::kMps, false).ok());

  const TempFolder folder;
  REQUIRE(WriteRandomModel(folder.path(), TowerConfig{.layers = 1}, 3).ok());
  auto model = ReadModelFolder(folder.path());
  REQUIRE(model.ok());
  const auto made =
      TorchExecutor::Create(*std::move(model), std::make_unique<NoDeviceMemory>(), {.dtype = Dtype::kInt8});
  CHECK(made.ok() == CpuMultipliesInt8());
}

}  // namespace
}  // namespace embedd
