// SPDX-License-Identifier: Apache-2.0
//
// Patches: the input of the image tower's first product. A row holds a patch as the weight of OpenCLIP's
// convolution does, plane by plane: [n, rows * columns, 3 * patch * patch]. Pixels right of and below the
// last whole patch are left out.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/pixel_table.h"
#include "server/model/model_spec.h"

namespace embedd {

// Of pixels [n, 3, height, width] in any type, on any device. One copy.
at::Tensor UnfoldPatches(const at::Tensor& pixels, int patch);

// Of bytes, uint8 [n, 3, height, width] on any device: (v / scale - mean) / std in f32 and in this order,
// rounded to `dtype`: UnfoldPatches of that, without a tensor of pixels. mean, std and scale: f32 [3] there.
at::Tensor NormalizedPatches(const at::Tensor& bytes, const at::Tensor& scale, const at::Tensor& mean,
                             const at::Tensor& std, int patch, at::ScalarType dtype);

// The same, in f32 on cpu, straight from the bytes of prepared images ([3, height, width] each), normalised:
// UnfoldPatches of what `table` makes of them, bit for bit, without that tensor.
at::Tensor NormalizedPatches(absl::Span<const uint8_t* const> images, const ImageSpec& spec,
                             const PixelTable& table, int patch);

// The same of `count` prepared images of ResizeMode::kPatches: [count, max_patches, 3 * patch * patch], of
// each image its own patches, row by row, then zeros; of those that are not in `images` zeros alone.
at::Tensor NormalizedGrids(absl::Span<const uint8_t* const> images, int64_t count, const ImageSpec& spec,
                           const PixelTable& table);

// kInternal where a prepared image has no patches or more than the tower takes: what lies behind its memory
// would be read. Of another ResizeMode there is nothing to check.
absl::Status CheckGrids(absl::Span<const uint8_t* const> images, const ImageSpec& spec);

}  // namespace embedd
