// SPDX-License-Identifier: Apache-2.0

#include "server/model/fingerprint.h"

#include <set>

#include "server/model/model_folder.h"
#include "tests/support/catch.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

TowerConfig Tiny() {
  TowerConfig config;
  config.image_height = config.image_width = 32;
  config.patch = 16;
  config.width = 16;
  config.layers = 1;
  config.heads = 2;
  config.mlp_width = 32;
  config.embed_dim = 8;
  return config;
}

ModelFolder Read(const TempFolder& folder, const std::string& name, uint64_t seed) {
  REQUIRE(WriteRandomModel(folder.path() + "/" + name, Tiny(), seed).ok());
  auto model = ReadModelFolder(folder.path() + "/" + name);
  REQUIRE(model.ok());
  return *std::move(model);
}

TEST_CASE("Equal weights, preprocessing and dtype have an equal fingerprint, wherever the folder lies") {
  TempFolder folder;
  const ModelFolder a = Read(folder, "a", 1), b = Read(folder, "b", 1);
  CHECK(Fingerprint(a.vision, a.image, a.weights, Dtype::kF32) ==
        Fingerprint(b.vision, b.image, b.weights, Dtype::kF32));
  CHECK(Fingerprint(a.vision, a.image, a.weights, Dtype::kF32).size() == 32);
}

TEST_CASE("Anything that changes a vector changes the fingerprint") {
  TempFolder folder;
  const ModelFolder model = Read(folder, "a", 1), other = Read(folder, "b", 2);
  std::set<std::string> seen = {Fingerprint(model.vision, model.image, model.weights, Dtype::kF32)};
  const auto is_new = [&](const TowerConfig& v, const ImageSpec& i, Dtype dtype) {
    return seen.insert(Fingerprint(v, i, model.weights, dtype)).second;
  };
  CHECK(seen.insert(Fingerprint(other.vision, other.image, other.weights, Dtype::kF32)).second);
  CHECK(is_new(model.vision, model.image, Dtype::kF16));
  CHECK(is_new(model.vision, model.image, Dtype::kInt8));
  TowerConfig vision = model.vision;
  vision.activation = Activation::kQuickGelu;
  CHECK(is_new(vision, model.image, Dtype::kF32));
  vision = model.vision;
  vision.heads = 1;
  CHECK(is_new(vision, model.image, Dtype::kF32));
  vision = model.vision;
  vision.eps = 1e-6;
  CHECK(is_new(vision, model.image, Dtype::kF32));
  vision = model.vision;
  vision.pool = Pool::kAverage;
  CHECK(is_new(vision, model.image, Dtype::kF32));
  ImageSpec image = model.image;
  image.resize_mode = ResizeMode::kSquash;
  CHECK(is_new(model.vision, image, Dtype::kF32));
  image = model.image;
  image.interpolation = Interpolation::kBilinear;
  CHECK(is_new(model.vision, image, Dtype::kF32));
  image = model.image;
  image.crop_rounding = CropRounding::kFloor;
  CHECK(is_new(model.vision, image, Dtype::kF32));
  image = model.image;
  image.mean[2] += 1e-7f;
  CHECK(is_new(model.vision, image, Dtype::kF32));
  image = model.image;
  image.decode = DecodeMode::kFast;
  CHECK(is_new(model.vision, image, Dtype::kF32));
}

}  // namespace
}  // namespace embedd
