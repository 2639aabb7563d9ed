// SPDX-License-Identifier: Apache-2.0

#include "server/engine/patches.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "absl/strings/str_cat.h"
#include "server/engine/parallel_for.h"

namespace embedd {
namespace {

// Bytes [3, height, width].
struct Planes {
  const uint8_t* data;
  int64_t height, width;
};

// Normalises a row of patches: [columns, 3 * p * p]. A row of pixels is a piece of each patch that it
// crosses.
void WriteRow(const Planes& planes, int64_t row, int64_t p, const PixelTable& table, float* out) {
  const int64_t columns = planes.width / p, patch_size = 3 * p * p;
  for (int channel = 0; channel < 3; ++channel) {
    for (int64_t y = 0; y < p; ++y) {
      const uint8_t* const in = planes.data + (channel * planes.height + row * p + y) * planes.width;
      table.Normalize(channel, {in, p, columns, out + (channel * p + y) * p, patch_size});
    }
  }
}

}  // namespace

at::Tensor UnfoldPatches(const at::Tensor& pixels, int patch) {
  const int64_t n = pixels.size(0), p = patch, rows = pixels.size(2) / p, columns = pixels.size(3) / p;
  return pixels.narrow(2, 0, rows * p)
      .narrow(3, 0, columns * p)
      .reshape({n, 3, rows, p, columns, p})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({n, rows * columns, 3 * p * p});
}

at::Tensor NormalizedPatches(const at::Tensor& bytes, const at::Tensor& scale, const at::Tensor& mean,
                             const at::Tensor& std, int patch, at::ScalarType dtype) {
  const int64_t n = bytes.size(0), p = patch, rows = bytes.size(2) / p, columns = bytes.size(3) / p;
  const at::Tensor pixels = bytes.narrow(2, 0, rows * p)
                                .narrow(3, 0, columns * p)
                                .unflatten(2, {rows, p})
                                .unflatten(4, {columns, p});
  const auto by_channel = [](const at::Tensor& x) { return x.view({1, 3, 1, 1, 1, 1}); };
  const at::Tensor normal = at::div(pixels, by_channel(scale)).sub_(by_channel(mean));
  at::Tensor patches = at::empty({n, rows, columns, 3, p, p}, normal.options().dtype(dtype));
  at::Tensor by_pixel = patches.permute({0, 3, 1, 4, 2, 5});
  at::div_out(by_pixel, normal, by_channel(std));  // rounds, and writes patch by patch
  return patches.view({n, rows * columns, 3 * p * p});
}

at::Tensor NormalizedPatches(absl::Span<const uint8_t* const> images, const ImageSpec& spec,
                             const PixelTable& table, int patch) {
  const int64_t n = static_cast<int64_t>(images.size()), p = patch;
  const int64_t rows = spec.height / p, columns = spec.width / p, row_size = 3 * p * p;
  at::Tensor patches = at::empty({n, rows * columns, row_size}, at::kFloat);
  float* const out = patches.mutable_data_ptr<float>();
  ParallelFor(n * rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Planes planes = {images[i / rows], spec.height, spec.width};
      WriteRow(planes, i % rows, p, table, out + i * columns * row_size);
    }
  });
  return patches;
}

at::Tensor NormalizedGrids(absl::Span<const uint8_t* const> images, int64_t count, const ImageSpec& spec,
                           const PixelTable& table) {
  const int64_t p = spec.patch, patch_size = 3 * p * p;
  at::Tensor patches = at::zeros({count, spec.max_patches, patch_size}, at::kFloat);
  float* const out = patches.mutable_data_ptr<float>();
  ParallelFor(static_cast<int64_t>(images.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const PatchGrid grid = PatchGrid::Read(images[i]);
      const Planes planes = {images[i] + PatchGrid::kBytes, grid.rows * p, grid.columns * p};
      for (int64_t row = 0; row < grid.rows; ++row) {
        WriteRow(planes, row, p, table, out + (i * spec.max_patches + row * grid.columns) * patch_size);
      }
    }
  });
  return patches;
}

absl::Status CheckGrids(absl::Span<const uint8_t* const> images, const ImageSpec& spec) {
  if (spec.resize_mode != ResizeMode::kPatches) return absl::OkStatus();
  for (const uint8_t* image : images) {
    const PatchGrid grid = PatchGrid::Read(image);
    if (grid.count() < 1 || grid.count() > spec.max_patches) {
      return absl::InternalError(absl::StrCat("an image of ", grid.rows, " by ", grid.columns,
                                              " patches, where 1 to ", spec.max_patches, " are taken"));
    }
  }
  return absl::OkStatus();
}

}  // namespace embedd
