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

// What becomes of a picture.
struct Plan {
  PilTarget target;
  PilPlanes planes;  // of the window
  bool same_size = false;
};

// The whole picture decides what is cut out. Fills what it does not cover.
Plan MakePlan(const PictureSize& size, const ImageSpec& spec, uint8_t* out) {
  const Geometry g = ComputeGeometry(size.width, size.height, spec);
  if (spec.resize_mode == ResizeMode::kPatches) {
    PatchGrid{g.window_height / spec.patch, g.window_width / spec.patch}.Write(out);
    out += PatchGrid::kBytes;
  }
  const Span across = Covered(g.x, g.resized_width, g.window_width);
  const Span down = Covered(g.y, g.resized_height, g.window_height);
  const int64_t plane = int64_t{g.window_width} * g.window_height;
  // open_clip hands its fill colour to the longest mode only; elsewhere torchvision pads with 0.
  const int fill = spec.resize_mode == ResizeMode::kLongest ? spec.fill : 0;
  if (across.count < g.window_width || down.count < g.window_height) std::memset(out, fill, 3 * plane);

  Plan plan;
  const int64_t at = int64_t{down.at} * g.window_width + across.at;
  plan.planes = {out + at, out + plane + at, out + 2 * plane + at, g.window_width};
  plan.same_size = g.resized_width == size.columns() && g.resized_height == size.rows();
  plan.target.width = g.resized_width;
  plan.target.height = g.resized_height;
  plan.target.x = across.from;
  plan.target.y = down.from;
  plan.target.window_width = across.count;
  plan.target.window_height = down.count;
  plan.target.interpolation = FilterOf(spec);
  if (size.shrink > 1) {
    plan.target.source_width = static_cast<double>(size.width) / size.shrink;
    plan.target.source_height = static_cast<double>(size.height) / size.shrink;
  }
  return plan;
}

// Rows [y, y + count) of a picture that keeps its size, as far as the window has them.
void CopyRows(const uint8_t* rgb, int64_t width, int64_t y, int64_t count, const PilTarget& target,
              const PilPlanes& out) {
  const PilKernels& kernels = BestPilKernels();
  const int64_t first = std::max(y, target.y), end = std::min(y + count, target.y + target.window_height);
  for (int64_t row = first; row < end; ++row) {
    const int64_t to = (row - target.y) * out.stride;
    kernels.planar(rgb + 3 * ((row - y) * width + target.x), target.window_width, out.r + to, out.g + to,
                   out.b + to);
  }
}

}  // namespace

PixelRegion PixelsNeeded(int width, int height, const ImageSpec& spec) {
  const Geometry g = ComputeGeometry(width, height, spec);
  const Span across = Covered(g.x, g.resized_width, g.window_width);
  const Span down = Covered(g.y, g.resized_height, g.window_height);
  // Where one side keeps its size, the resampler may still read beside what it keeps along the other.
  const Samples columns = SamplesFor(width, g.resized_width, across, FilterOf(spec));
  const Samples rows = SamplesFor(height, g.resized_height, down, FilterOf(spec));
  return {static_cast<int>(columns.begin), static_cast<int>(rows.begin),
          static_cast<int>(columns.end - columns.begin), static_cast<int>(rows.end - rows.begin)};
}

int ShrinkFor(int width, int height, const ImageSpec& spec) {
  const Geometry g = ComputeGeometry(width, height, spec);
  for (const int shrink : {8, 4, 2}) {
    if (width >= 2 * shrink * g.resized_width && height >= 2 * shrink * g.resized_height) return shrink;
  }
  return 1;
}

void Preprocess(const uint8_t* rgb, int width, int height, const ImageSpec& spec, uint8_t* out) {
  Preprocess(rgb, {.width = width, .height = height}, spec, out);
}

void Preprocess(const uint8_t* rgb, const PictureSize& size, const ImageSpec& spec, uint8_t* out) {
  if (spec.resize_kind == ResizeKind::kFloat)
    return FloatResample(rgb, size.columns(), size.rows(), spec, out);
  const Plan plan = MakePlan(size, spec, out);
  if (plan.same_size) return CopyRows(rgb, size.columns(), 0, size.rows(), plan.target, plan.planes);
  PilResample(rgb, size.columns(), size.rows(), plan.target, plan.planes);
}

std::unique_ptr<RowPreprocessor> RowPreprocessor::Create(const PictureSize& size, const ImageSpec& spec,
                                                         uint8_t* out) {
  if (spec.resize_kind == ResizeKind::kFloat) return nullptr;
  const Plan plan = MakePlan(size, spec, out);
  if (!plan.same_size && !PilRows::Possible(size.columns(), size.rows(), plan.target)) return nullptr;
  std::unique_ptr<RowPreprocessor> rows(new RowPreprocessor(size, plan.target, plan.planes));
  if (!plan.same_size) {
    rows->resample_.emplace(size.columns(), size.rows(), plan.target, 0, plan.target.window_width,
                            plan.planes);
  }
  return rows;
}

void RowPreprocessor::Add(const uint8_t* rgb, int64_t y, int64_t count) {
  if (!resample_) return CopyRows(rgb, width_, y, count, target_, out_);
  resample_->Add({.rgb = rgb, .bytes = 3 * width_ * count + kReadSlack, .y = y, .count = count});
}

}  // namespace embedd
