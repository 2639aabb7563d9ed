// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/preprocess.h"

#include <algorithm>
#include <cstring>

#include "server/prepare/image/float_resample.h"
#include "server/prepare/image/geometry.h"
#include "server/prepare/image/pil_axis.h"
#include "server/prepare/image/pil_resample.h"

namespace embedd {
namespace {

// The part of an axis of the window that the image covers; the rest of it is padding.
struct Span {
  int64_t from;  // in the resized image
  int at;        // in the window
  int count;
};

Span Covered(int64_t offset, int64_t size, int window) {
  const int64_t from = std::max<int64_t>(offset, 0);
  const int64_t end = std::min<int64_t>(offset + window, size);
  return {from, static_cast<int>(from - offset), static_cast<int>(end - from)};
}

// open_clip does not pass the interpolation on when it resizes the shortest side to a target that is not
// square.
Interpolation FilterOf(const ImageSpec& spec) {
  const bool always_bicubic = spec.resize_mode == ResizeMode::kShortest && spec.width != spec.height;
  return always_bicubic ? Interpolation::kBicubic : spec.interpolation;
}

// The samples of an axis that `span` of its resized form is made of.
struct Samples {
  int64_t begin, end;
};

Samples SamplesFor(int64_t in, int64_t out, const Span& span, Interpolation interpolation) {
  if (in == out) return {span.from, span.from + span.count};
  const PilAxis first(in, out, span.from, 1, interpolation);
  const PilAxis last(in, out, span.from + span.count - 1, 1, interpolation);
  return {first.origin(), last.end()};
}

// `shrink`: pixels of the whole picture in one of `rgb`. The whole picture decides what is cut out.
void Prepare(const uint8_t* rgb, int width, int height, int shrink, int full_width, int full_height,
             const ImageSpec& spec, uint8_t* out) {
  if (spec.resize_kind == ResizeKind::kFloat) return FloatResample(rgb, width, height, spec, out);
  const Geometry g = ComputeGeometry(full_width, full_height, spec);
  const Span across = Covered(g.x, g.resized_width, spec.width);
  const Span down = Covered(g.y, g.resized_height, spec.height);
  const int64_t plane = int64_t{spec.width} * spec.height;
  // open_clip hands its fill colour to the longest mode only; elsewhere torchvision pads with 0.
  const int fill = spec.resize_mode == ResizeMode::kLongest ? spec.fill : 0;
  if (across.count < spec.width || down.count < spec.height) std::memset(out, fill, 3 * plane);

  const int64_t at = int64_t{down.at} * spec.width + across.at;
  const PilPlanes planes = {out + at, out + plane + at, out + 2 * plane + at, spec.width};
  if (g.resized_width == width && g.resized_height == height) {
    const PilKernels& kernels = BestPilKernels();
    for (int y = 0; y < down.count; ++y) {
      const uint8_t* row = rgb + ((down.from + y) * width + across.from) * 3;
      const int64_t to = y * planes.stride;
      kernels.planar(row, across.count, planes.r + to, planes.g + to, planes.b + to);
    }
    return;
  }
  PilTarget target;
  target.width = g.resized_width;
  target.height = g.resized_height;
  target.x = across.from;
  target.y = down.from;
  target.window_width = across.count;
  target.window_height = down.count;
  target.interpolation = FilterOf(spec);
  if (shrink > 1) {
    target.source_width = static_cast<double>(full_width) / shrink;
    target.source_height = static_cast<double>(full_height) / shrink;
  }
  PilResample(rgb, width, height, target, planes);
}

}  // namespace

PixelRegion PixelsNeeded(int width, int height, const ImageSpec& spec) {
  const Geometry g = ComputeGeometry(width, height, spec);
  const Span across = Covered(g.x, g.resized_width, spec.width);
  const Span down = Covered(g.y, g.resized_height, spec.height);
  // Where one side keeps its size, the resampler may still read beside what it keeps along the other.
  const Samples columns = SamplesFor(width, g.resized_width, across, FilterOf(spec));
  const Samples rows = SamplesFor(height, g.resized_height, down, FilterOf(spec));
  return {static_cast<int>(columns.begin), static_cast<int>(rows.begin),
          static_cast<int>(columns.end - columns.begin), static_cast<int>(rows.end - rows.begin)};
}

void Preprocess(const uint8_t* rgb, int width, int height, const ImageSpec& spec, uint8_t* out) {
  Prepare(rgb, width, height, 1, width, height, spec, out);
}

void Preprocess(const RgbImage& image, const ImageSpec& spec, uint8_t* out) {
  const bool whole = image.shrink == 1;
  Prepare(image.rgb.get(), image.width, image.height, image.shrink, whole ? image.width : image.full_width,
          whole ? image.height : image.full_height, spec, out);
}

}  // namespace embedd
