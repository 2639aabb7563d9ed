// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_executor.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <vector>

#include "server/engine/calibration_pictures.h"
#include "server/engine/pixel_table.h"
#include "server/engine/torch_parity.h"
#include "tests/support/catch.h"
#include "tests/support/no_device_memory.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"
#include "tests/support/towers.h"

namespace embedd {
namespace {

TowerConfig Small(Activation activation = Activation::kGelu) {
  TowerConfig config;
  config.image_height = config.image_width = 32;
  config.patch = 8;
  config.width = 64;
  config.layers = 2;
  config.heads = 2;
  config.mlp_width = 128;
  config.embed_dim = 16;
  config.activation = activation;
  return config;
}

ModelFolder Read(const TempFolder& folder, const TowerConfig& config = Small(), uint64_t seed = 9) {
  REQUIRE(WriteRandomModel(folder.path(), config, seed).ok());
  auto model = ReadModelFolder(folder.path());
  REQUIRE(model.ok());
  return *std::move(model);
}

std::unique_ptr<TorchExecutor> Make(ModelFolder model, Dtype dtype = Dtype::kF32) {
  auto executor = TorchExecutor::Create(std::move(model), std::make_unique<NoDeviceMemory>(),
                                        {.dtype = dtype, .threads = 1});
  REQUIRE(executor.ok());
  return *std::move(executor);
}

// n different images of 32x32.
class Images {
 public:
  explicit Images(int n) : bytes_(static_cast<size_t>(n) * kBytes) {
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<uint8_t>((i * 2654435761u) >> 11);
    for (int i = 0; i < n; ++i) pointers_.push_back(bytes_.data() + static_cast<size_t>(i) * kBytes);
  }
  absl::Span<const uint8_t* const> pointers() const { return pointers_; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  static constexpr size_t kBytes = 3 * 32 * 32;
  std::vector<uint8_t> bytes_;
  std::vector<const uint8_t*> pointers_;
};

std::vector<float> Run(TorchExecutor& executor, const Images& images, int bucket) {
  std::vector<float> rows(images.pointers().size() * executor.dimension(), NAN);
  const absl::Status status = executor.Run(Tower::kImage, images.pointers(), bucket, absl::MakeSpan(rows));
  INFO(status);
  REQUIRE(status.ok());
  return rows;
}

TEST_CASE("Every batch size and bucket gives the rows of the plain tower on normalised pixels") {
  TempFolder folder;
  const ModelFolder model = Read(folder);
  const PixelTable table(model.image);
  const PlainTower plain(model);
  const auto executor = Make(Read(folder));
  REQUIRE(executor->Load(Tower::kImage).ok());
  CHECK(executor->dimension() == 16);
  // On cpu patches are made for sixteen images at a time: a whole part, one image more, and several parts.
  for (const auto& [n, bucket] : std::vector<std::pair<int, int>>{
           {1, 1}, {1, 4}, {3, 4}, {4, 4}, {7, 8}, {16, 16}, {17, 32}, {40, 64}}) {
    const Images images(n);
    std::vector<float> pixels(images.bytes().size());
    for (int i = 0; i < 3 * n; ++i)
      table.Normalize(i % 3, &images.bytes()[i * 1024], 1024, &pixels[i * 1024]);
    CHECK(LargestUnitDifference(plain.Run(n, pixels), Run(*executor, images, bucket), 16) <= 1e-6);
  }
}

TEST_CASE("Half-precision types give finite rows near f32") {
  TempFolder folder;
  const Images images(2);
  const auto f32 = Make(Read(folder));
  REQUIRE(f32->Load(Tower::kImage).ok());
  const std::vector<float> wanted = Run(*f32, images, 2);
  for (const Dtype dtype : {Dtype::kF16, Dtype::kBf16}) {
    const auto executor = Make(Read(folder), dtype);
    REQUIRE(executor->Load(Tower::kImage).ok());
    CHECK(executor->spec().dtype == dtype);
    CHECK(executor->spec().fingerprint != f32->spec().fingerprint);
    CHECK(LargestUnitDifference(wanted, Run(*executor, images, 2), 16) <= 0.03);
  }
}

TEST_CASE("Weights of F64 are those of f32, in every type, and have a fingerprint of their own") {
  const Images images(2);
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16}) {
    TempFolder folder, wide;
    const auto f32 = Make(Read(folder), dtype);
    std::map<std::string, HostTensor> tensors;
    for (auto& [name, tensor] : RandomWeights(Small(), 9)) tensors["visual." + name] = std::move(tensor);
    Read(wide);
    REQUIRE(WriteSafetensors(wide.path() + "/open_clip_model.safetensors", tensors, /*as_f64=*/true).ok());
    auto model = ReadModelFolder(wide.path());
    INFO(model.status());
    REQUIRE(model.ok());
    const auto f64 = Make(*std::move(model), dtype);
    REQUIRE(f32->Load(Tower::kImage).ok());
    REQUIRE(f64->Load(Tower::kImage).ok());
    CHECK(Run(*f64, images, 2) == Run(*f32, images, 2));
    CHECK(f64->spec().fingerprint != f32->spec().fingerprint);
  }
}

TEST_CASE("Weights leave and come back, and the rows are the same to the bit") {
  TempFolder folder;
  const auto executor = Make(Read(folder));
  const Images images(2);
  std::vector<float> rows(2 * 16);
  CHECK(executor->Run(Tower::kImage, images.pointers(), 2, absl::MakeSpan(rows)).code() ==
        absl::StatusCode::kInternal);
  REQUIRE(executor->Load(Tower::kImage).ok());
  REQUIRE(executor->Load(Tower::kImage).ok());
  const std::vector<float> before = Run(*executor, images, 2);
  const int trims = static_cast<NoDeviceMemory&>(executor->memory()).trims;
  REQUIRE(executor->Offload().ok());
  CHECK(static_cast<NoDeviceMemory&>(executor->memory()).trims == trims + 1);
  CHECK(executor->Run(Tower::kImage, images.pointers(), 2, absl::MakeSpan(rows)).code() ==
        absl::StatusCode::kInternal);
  REQUIRE(executor->Load(Tower::kImage).ok());
  CHECK(Run(*executor, images, 2) == before);
}

TEST_CASE("A weights file that changed on disk is not loaded again") {
  TempFolder folder;
  const auto executor = Make(Read(folder));
  REQUIRE(executor->Load(Tower::kImage).ok());
  REQUIRE(executor->Offload().ok());
  std::filesystem::resize_file(folder.path() + "/open_clip_model.safetensors", 100);
  CHECK(executor->Load(Tower::kImage).code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("Arguments that do not fit together are refused, not run") {
  TempFolder folder;
  const auto executor = Make(Read(folder));
  REQUIRE(executor->Load(Tower::kImage).ok());
  const Images images(2);
  std::vector<float> rows(2 * 16);
  CHECK(executor->Run(Tower::kImage, images.pointers(), 1, absl::MakeSpan(rows)).code() ==
        absl::StatusCode::kInternal);
  CHECK(executor->Run(Tower::kImage, images.pointers(), 2, absl::MakeSpan(rows).first(16)).code() ==
        absl::StatusCode::kInternal);
  CHECK(executor->Run(Tower::kImage, {}, 2, {}).code() == absl::StatusCode::kInternal);
}

std::unique_ptr<TorchExecutor> Naflex(const TempFolder& folder, Dtype dtype = Dtype::kF32) {
  REQUIRE(WriteNaflexModel(folder.path(), 9).ok());
  auto model = ReadModelFolder(folder.path());
  INFO(model.status());
  REQUIRE(model.ok());
  auto executor = Make(*std::move(model), dtype);
  REQUIRE(executor->Load(Tower::kImage).ok());
  return executor;
}

// Pictures of four shapes by turns, as the tower takes them: of 4x6, 3x8, 5x4 and 1x24 patches.
class Shapes {
 public:
  explicit Shapes(const ImageSpec& spec, int n) : pictures_(CalibrationPictures(spec, n, 5)) {
    for (const auto& picture : pictures_) pointers_.push_back(picture.data());
  }
  absl::Span<const uint8_t* const> pointers() const { return pointers_; }
  std::vector<uint8_t>& operator[](size_t i) { return pictures_[i]; }

 private:
  std::vector<std::vector<uint8_t>> pictures_;
  std::vector<const uint8_t*> pointers_;
};

std::vector<float> Run(TorchExecutor& executor, absl::Span<const uint8_t* const> images) {
  std::vector<float> rows(images.size() * static_cast<size_t>(executor.dimension()), NAN);
  const absl::Status status =
      executor.Run(Tower::kImage, images, static_cast<int>(images.size()), absl::MakeSpan(rows));
  INFO(status);
  REQUIRE(status.ok());
  return rows;
}

TEST_CASE("Images of any shape ride in one batch, and none changes another's row") {
  TempFolder folder;
  const auto executor = Naflex(folder);
  Shapes images(executor->spec().image, 40);  // more than patches are made for at a time
  const std::vector<float> together = Run(*executor, images.pointers());
  for (size_t i = 0; i < 40; ++i) {
    INFO(i);
    const std::vector<float> alone = Run(*executor, images.pointers().subspan(i, 1));
    const std::vector<float> row(together.begin() + static_cast<std::ptrdiff_t>(64 * i),
                                 together.begin() + static_cast<std::ptrdiff_t>(64 * (i + 1)));
    CHECK(LargestUnitDifference(alone, row, 64) <= 1e-6);
  }
  // What lies behind the pixels of an image is not read.
  const PatchGrid grid = PatchGrid::Read(images[2].data());
  REQUIRE(grid.count() == 20);
  std::fill(images[2].begin() + PatchGrid::kBytes + 3 * 8 * 8 * grid.count(), images[2].end(), 255);
  CHECK(Run(*executor, images.pointers()) == together);
  // The same pixels in a grid that is turned are another picture.
  const std::vector<float> before = Run(*executor, images.pointers().subspan(2, 1));
  PatchGrid{grid.columns, grid.rows}.Write(images[2].data());
  CHECK(LargestUnitDifference(before, Run(*executor, images.pointers().subspan(2, 1)), 64) > 1e-3);
}

TEST_CASE("Images of any shape in half precision are near those of f32") {
  TempFolder folder;
  const auto f32 = Naflex(folder);
  const Shapes images(f32->spec().image, 8);
  const std::vector<float> wanted = Run(*f32, images.pointers());
  for (const Dtype dtype : {Dtype::kF16, Dtype::kBf16}) {
    TempFolder other;
    const auto executor = Naflex(other, dtype);
    CHECK(LargestUnitDifference(wanted, Run(*executor, images.pointers()), 64) <= 0.03);
    auto model = ReadModelFolder(folder.path());
    REQUIRE(model.ok());
    CHECK(CheckParity(*model, RowIn(kDtypes, dtype).least_cosine, *executor).ok());
  }
}

TEST_CASE("An image of more patches than the tower takes is refused, not read") {
  TempFolder folder;
  const auto executor = Naflex(folder);
  Shapes images(executor->spec().image, 2);
  std::vector<float> rows(2 * 64);
  for (const PatchGrid grid : {PatchGrid{5, 5}, PatchGrid{0, 7}, PatchGrid{65535, 65535}}) {
    grid.Write(images[1].data());
    const absl::Status status = executor->Run(Tower::kImage, images.pointers(), 2, absl::MakeSpan(rows));
    CHECK(status.code() == absl::StatusCode::kInternal);
    CHECK_THAT(std::string(status.message()), ContainsSubstring("1 to 24 are taken"));
  }
}

TEST_CASE("The start-up check passes a device that computes the model") {
  TempFolder folder;
  const ModelFolder model = Read(folder);
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBf16}) {
    const auto executor = Make(Read(folder), dtype);
    REQUIRE(executor->Load(Tower::kImage).ok());
    CHECK(CheckParity(model, RowIn(kDtypes, dtype).least_cosine, *executor).ok());
  }
}

TEST_CASE("The start-up check refuses a device that computes something else, and says by how much") {
  TempFolder folder, other;
  const ModelFolder model = Read(folder, Small(), 9);
  // The same weights with another activation: close, and wrong.
  const auto executor = Make(Read(other, Small(Activation::kQuickGelu), 9));
  REQUIRE(executor->Load(Tower::kImage).ok());
  const absl::Status status = CheckParity(model, RowIn(kDtypes, Dtype::kF32).least_cosine, *executor);
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(status.message()), ContainsSubstring("cosine 0."));
}

}  // namespace
}  // namespace embedd
