// SPDX-License-Identifier: Apache-2.0

#include "server/engine/patches.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>

#include "server/engine/parallel_for.h"

namespace embedd {

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
      for (int channel = 0; channel < 3; ++channel) {
        for (int64_t y = 0; y < p; ++y) {  // a row of pixels is a piece of each patch that it crosses
          table.Normalize(
              channel, {images[i / rows] + (int64_t{channel} * spec.height + i % rows * p + y) * spec.width,
                        p, columns, out + (i * columns * 3 + channel) * p * p + y * p, row_size});
        }
      }
    }
  });
  return patches;
}

}  // namespace embedd
