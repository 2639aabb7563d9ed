// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/geometry.h"

#include <utility>

#include "tests/support/catch.h"

namespace embedd {
namespace {

ImageSpec Spec(int width, int height, ResizeMode mode, CropRounding rounding = CropRounding::kHalfEven) {
  ImageSpec spec;
  spec.width = width;
  spec.height = height;
  spec.resize_mode = mode;
  spec.crop_rounding = rounding;
  return spec;
}

void CheckGeometry(const Geometry& g, int64_t width, int64_t height, int64_t x, int64_t y) {
  CHECK(g.resized_width == width);
  CHECK(g.resized_height == height);
  CHECK(g.x == x);
  CHECK(g.y == y);
}

TEST_CASE("The shortest side is resized and the centre cropped as torchvision does") {
  struct Row {
    int width, height;
    int64_t resized_width, resized_height, x, y;
  };
  constexpr Row kTable[] = {
      {1024, 683, 335, 224, 56, 0},     {481, 337, 319, 224, 48, 0}, {640, 480, 298, 224, 37, 0},
      {333, 500, 224, 336, 0, 56},      {300, 225, 298, 224, 37, 0}, {223, 224, 224, 225, 0, 0},
      {3000, 10, 67200, 224, 33488, 0},
  };
  for (const Row& row : kTable) {
    CAPTURE(row.width, row.height);
    const Geometry g = ComputeGeometry(row.width, row.height, Spec(224, 224, ResizeMode::kShortest));
    CheckGeometry(g, row.resized_width, row.resized_height, row.x, row.y);
  }
}

TEST_CASE("Hugging Face processors round the crop down") {
  const ImageSpec spec = Spec(224, 224, ResizeMode::kShortest, CropRounding::kFloor);
  CHECK(ComputeGeometry(1024, 683, spec).x == 55);
  CHECK(ComputeGeometry(481, 337, spec).x == 47);
}

TEST_CASE("The longest side is resized and the rest padded, the odd pixel below") {
  CheckGeometry(ComputeGeometry(400, 300, Spec(224, 224, ResizeMode::kLongest)), 224, 168, 0, -28);
  CheckGeometry(ComputeGeometry(100, 201, Spec(224, 224, ResizeMode::kLongest)), 111, 224, -56, 0);
}

TEST_CASE("A side that would vanish keeps one pixel") {
  CheckGeometry(ComputeGeometry(3000, 2, Spec(224, 224, ResizeMode::kLongest)), 224, 1, 0, -111);
}

TEST_CASE("Squashing ignores the shape") {
  CheckGeometry(ComputeGeometry(400, 300, Spec(224, 160, ResizeMode::kSquash)), 224, 160, 0, 0);
}

TEST_CASE("A target that is not square is covered") {
  CheckGeometry(ComputeGeometry(500, 375, Spec(336, 280, ResizeMode::kShortest)), 373, 280, 18, 0);
}

TEST_CASE("The patches of an image are as many as transformers takes") {
  struct Row {
    int width, height, patch, most, rows, columns;
  };
  // get_image_size_for_max_num_patches of transformers 5.24.
  constexpr Row kTable[] = {
      {640, 480, 16, 256, 14, 18},    {480, 640, 16, 256, 18, 14},
      {1920, 1080, 16, 256, 12, 21},  {256, 256, 16, 256, 16, 16},
      {257, 255, 16, 256, 16, 16},    {17, 16, 16, 256, 16, 16},
      {4032, 3024, 16, 256, 14, 18},  {97, 3, 16, 256, 3, 85},
      {2, 3, 16, 256, 19, 13},        {1, 1, 16, 256, 7, 7},
      {1, 1000, 16, 256, 256, 1},     {1000, 1, 16, 256, 1, 256},
      {129, 1, 16, 256, 1, 129},      {3, 21333333, 16, 256, 256, 1},
      {64000000, 1, 16, 256, 1, 243}, {2000000000, 1, 16, 256, 1, 126},
      {640, 480, 16, 1024, 27, 36},   {640, 480, 14, 300, 15, 20},
      {333, 500, 16, 576, 29, 19},    {1237, 789, 32, 64, 6, 10},
      {800, 600, 16, 1, 1, 1},
  };
  for (const Row& row : kTable) {
    CAPTURE(row.width, row.height, row.patch, row.most);
    const PatchGrid grid = FitPatches(row.width, row.height, row.patch, row.most);
    CHECK(grid.rows == row.rows);
    CHECK(grid.columns == row.columns);
    ImageSpec spec = Spec(0, 0, ResizeMode::kPatches);
    spec.patch = row.patch;
    spec.max_patches = row.most;
    const Geometry g = ComputeGeometry(row.width, row.height, spec);
    CheckGeometry(g, int64_t{row.columns} * row.patch, int64_t{row.rows} * row.patch, 0, 0);
    CHECK(g.window_width == g.resized_width);
    CHECK(g.window_height == g.resized_height);
  }
}

TEST_CASE("No image has more patches than may be, where the library would make more") {
  for (const int patch : {1, 16}) {
    for (const int most : {1, 2, 100}) {
      for (const auto& [width, height] :
           {std::pair{2147483647, 1}, {1, 2147483647}, {2147483647, 2147483647}}) {
        CAPTURE(width, height, patch, most);
        const PatchGrid grid = FitPatches(width, height, patch, most);
        CHECK(grid.rows >= 1);
        CHECK(grid.columns >= 1);
        CHECK(grid.count() <= most);
      }
    }
  }
}

TEST_CASE("The largest sizes do not overflow") {
  const Geometry g = ComputeGeometry(1, 2147483647, Spec(1024, 1024, ResizeMode::kShortest));
  CHECK(g.resized_height == int64_t{2147483647} * 1024);
  CHECK(g.y == (g.resized_height - 1024) / 2);
}

}  // namespace
}  // namespace embedd
