// SPDX-License-Identifier: Apache-2.0

#include "server/engine/patches.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Patches made from bytes are those unfolded from normalised pixels, to the bit") {
  const c10::InferenceMode no_gradients;
  struct Shape {
    int height, width, patch;
  };
  // Whole patches; pixels left over on both sides; patches whose rows are no multiple of eight; more than one
  // row of patches for each thread.
  for (const Shape shape : {Shape{64, 64, 32}, Shape{70, 45, 16}, Shape{42, 28, 14}, Shape{224, 224, 16}}) {
    ImageSpec spec;
    spec.height = shape.height;
    spec.width = shape.width;
    const PixelTable table(spec);
    std::mt19937 random(3);
    const int64_t plane = int64_t{spec.height} * spec.width;
    std::vector<std::vector<uint8_t>> images(3, std::vector<uint8_t>(3 * plane));
    std::vector<const uint8_t*> views;
    at::Tensor pixels = at::empty({3, 3, spec.height, spec.width}, at::kFloat);
    float* out = pixels.mutable_data_ptr<float>();
    for (std::vector<uint8_t>& image : images) {
      for (uint8_t& byte : image) byte = static_cast<uint8_t>(random());
      views.push_back(image.data());
      for (int c = 0; c < 3; ++c, out += plane) table.Normalize(c, image.data() + c * plane, plane, out);
    }
    const at::Tensor wanted = UnfoldPatches(pixels, shape.patch);
    const int64_t count = int64_t{shape.height / shape.patch} * (shape.width / shape.patch);
    CHECK(wanted.sizes() == at::IntArrayRef({3, count, 3 * shape.patch * shape.patch}));
    CHECK(at::equal(NormalizedPatches(views, spec, table, shape.patch), wanted));

    // As a card makes them, from one tensor of bytes.
    at::Tensor bytes = at::empty(pixels.sizes(), at::kByte);
    for (size_t i = 0; i < images.size(); ++i) {
      std::memcpy(bytes.mutable_data_ptr<uint8_t>() + i * images[i].size(), images[i].data(),
                  images[i].size());
    }
    const auto constant = [](const std::array<float, 3>& v) { return at::tensor(at::ArrayRef<float>(v)); };
    const at::Tensor scale = constant({255, 255, 255}), mean = constant(spec.mean), std = constant(spec.std);
    CHECK(at::equal(NormalizedPatches(bytes, scale, mean, std, shape.patch, at::kFloat), wanted));
    CHECK(
        at::equal(NormalizedPatches(bytes, scale, mean, std, shape.patch, at::kHalf), wanted.to(at::kHalf)));
  }
}

}  // namespace
}  // namespace embedd
