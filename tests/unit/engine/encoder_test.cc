// SPDX-License-Identifier: Apache-2.0

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"
#include "tests/support/towers.h"

namespace embedd {
namespace {

TowerConfig Small() {
  TowerConfig config;
  config.image_height = config.image_width = 64;
  config.patch = 16;
  config.width = 64;
  config.layers = 3;
  config.heads = 2;
  config.mlp_width = 200;
  config.embed_dim = 24;
  return config;
}

ModelFolder RandomModel(const TempFolder& folder, const TowerConfig& config) {
  REQUIRE(WriteRandomModel(folder.path(), config, 5).ok());
  auto model = ReadModelFolder(folder.path());
  REQUIRE(model.ok());
  return *std::move(model);
}

// Every option that changes the arithmetic, and the shapes at the edge of the tricks.
std::vector<TowerConfig> Variants() {
  std::vector<TowerConfig> all(10, Small());
  all[1].activation = Activation::kQuickGelu;
  all[2].activation = Activation::kGeluTanh;
  all[3].pool = Pool::kAverage;
  all[4].pool = Pool::kAverage;
  all[4].final_ln_after_pool = true;
  all[4].ln_pre = false;
  all[5].layer_scale = true;
  all[5].activation = Activation::kQuickGelu;
  all[6].layers = 1;
  all[6].eps = 1e-3;
  all[7].image_height = 40;  // 2 x 4 patches, eight rows left over
  all[8].heads = 1;
  all[8].image_height = all[8].image_width = 16;  // one patch
  all[9].mlp_width = 299;                         // a last panel that is not full
  return all;
}

TEST_CASE(
    "The server's tower computes what plain operators compute, however its weights lie, for every option") {
  for (const TowerConfig& config : Variants()) {
    TempFolder folder;
    const ModelFolder model = RandomModel(folder, config);
    const PlainTower plain(model);
    for (int n : {1, 2, 5}) {
      const std::vector<float> pixels = NoisePixels(config, n);
      const std::vector<float> wanted = plain.Run(n, pixels);
      INFO(DescribeTower(config) << ", batch " << n);
      REQUIRE(wanted.size() == static_cast<size_t>(n) * config.embed_dim);
      // Numbers of a unit vector grow as its dimension falls: 1e-6 at 24 is 2e-7 at 512.
      for (const WeightLayout layout : UsableLayouts()) {
        const std::vector<float> rows = RunEncoder(model, n, pixels, layout);
        CHECK(LargestUnitDifference(wanted, rows, config.embed_dim) <= 1e-6);
      }
    }
  }
}

TEST_CASE("A loaded tower needs nothing of its file any more, however its weights lie") {
  const std::vector<float> pixels = NoisePixels(Small(), 2);
  for (const WeightLayout layout : UsableLayouts()) {
    TempFolder folder;
    const ModelFolder model = RandomModel(folder, Small());
    const std::vector<float> wanted = RunEncoder(model, 2, pixels, layout);
    // What is mapped shows what is written to the file.
    const auto overwrite = [&model] {
      const std::string path = model.files->path();
      const auto bytes = static_cast<std::streamoff>(std::filesystem::file_size(path));
      std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
      file.seekp(bytes / 10);  // behind the header
      file << std::string(static_cast<size_t>(bytes - bytes / 10), '\0') << std::flush;
      REQUIRE(file.good());
    };
    CHECK(RunEncoder(model, 2, pixels, layout, overwrite) == wanted);
    CHECK(RunEncoder(model, 2, pixels, layout) != wanted);  // the file is another one indeed
  }
}

TEST_CASE("At the width of ViT-B/32 the tower differs from plain operators by at most 3e-7 on unit vectors") {
  for (const Activation activation : {Activation::kGelu, Activation::kQuickGelu}) {
    TowerConfig config;  // ViT-B/32, with three layers
    config.layers = 3;
    config.activation = activation;
    TempFolder folder;
    const ModelFolder model = RandomModel(folder, config);
    const std::vector<float> pixels = NoisePixels(config, 2);
    const std::vector<float> wanted = PlainTower(model).Run(2, pixels);
    for (const WeightLayout layout : UsableLayouts()) {
      CHECK(LargestUnitDifference(wanted, RunEncoder(model, 2, pixels, layout), 512) <= 3e-7);
    }
  }
}

TEST_CASE("The tower of a fixed model answers the numbers that open_clip answered") {
  TowerConfig config = Small();
  config.activation = Activation::kQuickGelu;
  config.embed_dim = 6;
  TempFolder folder;
  const ModelFolder model = RandomModel(folder, config);
  const std::vector<float> rows = RunEncoder(model, 2, NoisePixels(config, 2), WeightLayout::kPlain);
  // open_clip 3.3.0 over the folder that WriteRandomModel(folder, config, 5) writes, on NoisePixels(config,
  // 2).
  const std::vector<float> wanted = {-0.45611364f, 1.1594019f,   -0.95257974f, -0.26555884f,
                                     0.93603688f,  -0.45382443f, -0.37737328f, 0.64214909f,
                                     -0.64077216f, -0.87048662f, 1.4918725f,   -0.58372307f};
  REQUIRE(rows.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) CHECK(rows[i] == Approx(wanted[i]).margin(2e-6));
}

TEST_CASE("In f16 a tower stays as near to f32 when its norms read and write f16") {
  for (const TowerConfig& config : Variants()) {
    TempFolder folder;
    const ModelFolder model = RandomModel(folder, config);
    const std::vector<float> pixels = NoisePixels(config, 3);
    const std::vector<float> wanted = PlainTower(model).Run(3, pixels);
    INFO(DescribeTower(config));
    for (const bool norms_in_dtype : {false, true}) {
      const std::vector<float> rows = RunHalfEncoder(model, 3, pixels, norms_in_dtype);
      CHECK(LargestUnitDifference(wanted, rows, config.embed_dim) <= 5e-3);
    }
  }
}

TEST_CASE("A row does not depend on the other images of its batch") {
  TempFolder folder;
  const TowerConfig config = Small();
  const ModelFolder model = RandomModel(folder, config);
  const std::vector<float> pixels = NoisePixels(config, 3);
  const std::vector<float> together = RunEncoder(model, 3, pixels, WeightLayout::kPlain);
  const size_t image = pixels.size() / 3;
  const std::vector<float> last(pixels.begin() + static_cast<ptrdiff_t>(2 * image), pixels.end());
  const std::vector<float> alone = RunEncoder(model, 1, last, WeightLayout::kPlain);
  const std::vector<float> row(together.begin() + 2 * config.embed_dim, together.end());
  CHECK(LargestUnitDifference(row, alone, config.embed_dim) <= 1e-6);
}

}  // namespace
}  // namespace embedd
