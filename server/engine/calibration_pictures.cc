// SPDX-License-Identifier: Apache-2.0

#include "server/engine/calibration_pictures.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace embedd {
namespace {

// SplitMix64: the standard library's distributions differ between machines.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  float Between(float low, float high) { return low + (high - low) * Unit(); }
  int Below(int n) { return static_cast<int>(Unit() * static_cast<float>(n)); }

 private:
  float Unit() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<float>((z ^ (z >> 31)) >> 40) * 0x1p-24f;
  }
  uint64_t state_;
};

class Canvas {
 public:
  explicit Canvas(const ImageSpec& spec)
      : height_(spec.height),
        width_(spec.width),
        values_(size_t{3} * static_cast<size_t>(spec.height) * static_cast<size_t>(spec.width)) {}

  // Adds draw(channel, y, x) everywhere, x and y from 0 to 1 along the longer side.
  template <typename Draw>
  void Add(const Draw& draw) {
    const float unit = 1.0f / static_cast<float>(std::max(height_, width_));
    float* out = values_.data();
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < height_; ++y) {
        for (int x = 0; x < width_; ++x) {
          *out++ += draw(c, static_cast<float>(y) * unit, static_cast<float>(x) * unit);
        }
      }
    }
  }

  std::vector<uint8_t> Bytes() const {
    std::vector<uint8_t> bytes(values_.size());
    std::transform(values_.begin(), values_.end(), bytes.begin(),
                   [](float v) { return static_cast<uint8_t>(std::clamp(v, 0.0f, 255.0f) + 0.5f); });
    return bytes;
  }

 private:
  const int height_, width_;
  std::vector<float> values_;
};

// Random values on a grid of cells x cells, one grid a channel.
class Lattice {
 public:
  Lattice(Random& random, int cells) : cells_(cells), stride_(cells + 2) {
    values_.resize(size_t{3} * static_cast<size_t>(stride_) * static_cast<size_t>(stride_));
    for (float& v : values_) v = random.Between(-1, 1);
  }
  float Cell(int c, float y, float x) const {
    return At(c, static_cast<int>(y * static_cast<float>(cells_)),
              static_cast<int>(x * static_cast<float>(cells_)));
  }
  float Smooth(int c, float y, float x) const {
    const float v = y * static_cast<float>(cells_), u = x * static_cast<float>(cells_);
    const int row = static_cast<int>(v), column = static_cast<int>(u);
    const float down = v - static_cast<float>(row), across = u - static_cast<float>(column);
    const float top = At(c, row, column) * (1 - across) + At(c, row, column + 1) * across;
    const float bottom = At(c, row + 1, column) * (1 - across) + At(c, row + 1, column + 1) * across;
    return top * (1 - down) + bottom * down;
  }

 private:
  float At(int c, int row, int column) const {
    return values_[static_cast<size_t>((c * stride_ + row) * stride_ + column)];
  }
  const int cells_, stride_;
  std::vector<float> values_;
};

// Detail twice as fine is half as strong, or a third: the spectrum of photographs. The first channel's
// pattern is in all of them, for pictures are more grey than colourful.
void Clouds(Random& random, Canvas* canvas) {
  const float fade = random.Between(0.35f, 0.6f), contrast = random.Between(60, 140);
  const float base[] = {random.Between(60, 190), random.Between(60, 190), random.Between(60, 190)};
  canvas->Add([&](int c, float, float) { return base[c]; });
  float strength = contrast;
  for (int cells = 2; cells <= 128; cells *= 2, strength *= fade) {
    const Lattice lattice(random, cells);
    canvas->Add([&](int c, float y, float x) {
      const float grey = lattice.Smooth(0, y, x);
      return strength * (c == 0 ? grey : 0.75f * grey + 0.35f * lattice.Smooth(c, y, x));
    });
  }
}

void Gradient(Random& random, Canvas* canvas) {
  float across[3], down[3], base[3];
  for (int c = 0; c < 3; ++c) {
    across[c] = random.Between(-255, 255);
    down[c] = random.Between(-255, 255);
    base[c] = random.Between(64, 192);
  }
  canvas->Add(
      [&](int c, float y, float x) { return base[c] + across[c] * (x - 0.5f) + down[c] * (y - 0.5f); });
}

void Noise(Random& random, Canvas* canvas) {
  const Lattice lattice(random, 8 << random.Below(6));
  const float contrast = random.Between(40, 128);
  canvas->Add([&](int c, float y, float x) { return 128 + contrast * lattice.Cell(c, y, x); });
}

void Shapes(Random& random, Canvas* canvas) {
  struct Shape {
    float y, x, radius, flatness, colour[3];
    bool round;
  };
  std::vector<Shape> shapes(static_cast<size_t>(2 + random.Below(7)));
  for (Shape& s : shapes) {
    s.y = random.Between(0, 1);
    s.x = random.Between(0, 1);
    s.radius = random.Between(0.05f, 0.4f);
    s.flatness = random.Between(1, 3);
    for (float& value : s.colour) value = random.Between(0, 255);
    s.round = random.Below(2) == 0;
  }
  canvas->Add([&](int c, float y, float x) {
    for (size_t i = shapes.size(); i-- > 1;) {  // the last one lies on top, the first is the ground
      const Shape& s = shapes[i];
      const float down = (y - s.y) * s.flatness, across = x - s.x;
      const bool inside = s.round ? down * down + across * across < s.radius * s.radius
                                  : std::max(std::fabs(down), std::fabs(across)) < s.radius;
      if (inside) return s.colour[c];
    }
    return shapes[0].colour[c];
  });
}

}  // namespace

ImageSpec InOneShape(const ImageSpec& spec, int turn) {
  if (spec.resize_mode != ResizeMode::kPatches) return spec;
  constexpr double kHeightByWidth[] = {1, 9.0 / 16, 4.0 / 3, 1.0 / 8};
  const double rows = std::floor(std::sqrt(spec.max_patches * kHeightByWidth[turn % 4]));
  ImageSpec shaped = spec;
  const int high = std::max(1, static_cast<int>(rows));
  shaped.height = high * spec.patch;
  shaped.width = spec.max_patches / high * spec.patch;
  return shaped;
}

std::vector<uint8_t> AsPrepared(std::vector<uint8_t> bytes, const ImageSpec& spec) {
  if (spec.resize_mode == ResizeMode::kPatches) {
    std::vector<uint8_t> prepared(static_cast<size_t>(spec.bytes()));
    PatchGrid{spec.height / spec.patch, spec.width / spec.patch}.Write(prepared.data());
    std::copy(bytes.begin(), bytes.end(), prepared.begin() + PatchGrid::kBytes);
    return prepared;
  }
  if (spec.resize_kind != ResizeKind::kFloat) return bytes;
  std::vector<uint8_t> wide;  // a byte four times is so much of 2^32 - 1 as the byte is of 255
  wide.reserve(4 * bytes.size());
  for (const uint8_t byte : bytes) wide.insert(wide.end(), {byte, byte, byte, byte});
  return wide;
}

std::vector<std::vector<uint8_t>> CalibrationPictures(const ImageSpec& spec, int n, uint64_t seed) {
  constexpr void (*kKinds[])(Random&, Canvas*) = {Clouds, Gradient, Noise, Shapes};
  Random random(seed);
  std::vector<std::vector<uint8_t>> pictures;
  for (int i = 0; i < n; ++i) {
    const ImageSpec shaped = InOneShape(spec, i + i / 4);  // each kind in each shape
    Canvas canvas(shaped);
    kKinds[i % 4](random, &canvas);
    pictures.push_back(AsPrepared(canvas.Bytes(), shaped));
  }
  return pictures;
}

}  // namespace embedd
