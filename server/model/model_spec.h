// SPDX-License-Identifier: Apache-2.0
//
// What a model folder says about a model, in plain data: no gRPC, no LibTorch. Filled by ReadModelFolder.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/model/patch_grid.h"
#include "server/telemetry/dtype.h"
#include "server/telemetry/tower.h"

namespace embedd {

// kPatches keeps the shape: an image becomes as many whole patches as max_patches allows (NaFlex).
enum class ResizeMode { kShortest, kLongest, kSquash, kPatches };
enum class Interpolation { kBicubic, kBilinear };
// How the centre crop rounds: torchvision rounds half to even, Hugging Face processors floor.
enum class CropRounding { kHalfEven, kFloor };
// kFast lets a decoder leave out resolution that the resize would throw away; the pixels differ a little.
enum class DecodeMode { kExact, kFast };

// What the resize computes with: Pillow's 8 bits, or floats as torch's antialiased one, whose results are
// kept in 32 bits: 2^32 - 1 stands for 255.
enum class ResizeKind { kPil8Bit, kFloat };

// How an image becomes the input of the image tower: convert to RGB, resize, centre crop or pad, (v/255 -
// mean) / std.
struct ImageSpec {
  int height = 224;  // of kPatches: of what a square image becomes
  int width = 224;
  ResizeMode resize_mode = ResizeMode::kShortest;
  int resize = 0;  // of kShortest: what the shortest edge becomes, where that is not the side that is cut out
  Interpolation interpolation = Interpolation::kBicubic;
  CropRounding crop_rounding = CropRounding::kHalfEven;
  int fill = 0;  // padding value of kLongest, 0 to 255
  DecodeMode decode = DecodeMode::kExact;
  ResizeKind resize_kind = ResizeKind::kPil8Bit;
  int patch = 0;  // of kPatches: its side in pixels, and how many an image becomes at most
  int max_patches = 0;
  std::array<float, 3> mean = {0.48145466f, 0.4578275f, 0.40821073f};
  std::array<float, 3> std = {0.26862954f, 0.26130258f, 0.27577711f};

  // Of a prepared image: three planes of bytes, or of 32-bit numbers where the resize does not round to
  // bytes. Of kPatches its PatchGrid, and planes of as many patches as an image may have.
  int64_t bytes() const {
    if (resize_mode == ResizeMode::kPatches)
      return PatchGrid::kBytes + int64_t{3} * patch * patch * max_patches;
    return int64_t{3} * height * width * (resize_kind == ResizeKind::kFloat ? 4 : 1);
  }
};

struct ModelSpec {
  std::string name;          // of the folder
  std::string architecture;  // one line for people
  std::string fingerprint;   // hash of used weights, preprocessing and dtype
  std::string device;        // "cpu", "mps", "cuda"
  Dtype dtype = Dtype::kF32;
  int dimension = 0;
  ImageSpec image;
  std::vector<std::string> towers;  // "image", "text"
  // Of a model with a text tower. `lowercases` and the fingerprint depend on the tokenizer and are set by who
  // made it.
  struct Text {
    int dimension = 0;
    int context_length = 0;
    bool lowercases = false;
    std::string fingerprint;
  };
  std::optional<Text> text;
  std::optional<double> logit_scale;  // the factor, already exponentiated
  std::optional<double> logit_bias;
  std::string similarity = "cosine";  // "sigmoid" where the folder has a bias

  bool Serves(Tower tower) const {
    return std::find(towers.begin(), towers.end(), TowerName(tower)) != towers.end();
  }
};

}  // namespace embedd
