// SPDX-License-Identifier: Apache-2.0

#include "tests/parity/pixels/pixel_spec.h"

#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace embedd {

std::optional<ImageSpec> ParsePixelSpec(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  if (parts.size() < 3) return std::nullopt;
  ImageSpec spec;
  const std::vector<std::string> size = absl::StrSplit(parts[0], 'x');
  if (size.size() != 2 || !absl::SimpleAtoi(size[0], &spec.width) ||
      !absl::SimpleAtoi(size[1], &spec.height)) {
    return std::nullopt;
  }
  if (spec.width < 1 || spec.height < 1) return std::nullopt;
  if (parts[1] == "shortest") {
    spec.resize_mode = ResizeMode::kShortest;
  } else if (parts[1] == "longest") {
    spec.resize_mode = ResizeMode::kLongest;
  } else if (parts[1] == "squash") {
    spec.resize_mode = ResizeMode::kSquash;
  } else if (parts[1] == "patches") {
    spec.resize_mode = ResizeMode::kPatches;
    spec.patch = spec.width;
    spec.max_patches = spec.height;
  } else {
    return std::nullopt;
  }
  if (parts[2] != "bicubic" && parts[2] != "bilinear") return std::nullopt;
  spec.interpolation = parts[2] == "bicubic" ? Interpolation::kBicubic : Interpolation::kBilinear;
  for (size_t i = 3; i < parts.size(); ++i) {
    absl::string_view option = parts[i];
    if (option == "floor") {
      spec.crop_rounding = CropRounding::kFloor;
    } else if (!absl::ConsumePrefix(&option, "fill=") || !absl::SimpleAtoi(option, &spec.fill)) {
      return std::nullopt;
    }
  }
  return spec;
}

}  // namespace embedd
