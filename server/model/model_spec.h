// SPDX-License-Identifier: Apache-2.0
//
// What a model folder says about a model, in plain data: no gRPC, no LibTorch. Filled by ReadModelFolder.

#pragma once

#include <array>
#include <string>
#include <vector>

namespace embedd {

enum class ResizeMode { kShortest, kLongest, kSquash };
enum class Interpolation { kBicubic, kBilinear };
// How the centre crop rounds: torchvision rounds half to even, Hugging Face processors floor.
enum class CropRounding { kHalfEven, kFloor };
// kFast lets a decoder leave out resolution that the resize would throw away; the pixels differ a little.
enum class DecodeMode { kExact, kFast };

// How an image becomes the input of the image tower: convert to RGB, resize, centre crop or pad, (v/255 -
// mean) / std.
struct ImageSpec {
  int height = 224;
  int width = 224;
  ResizeMode resize_mode = ResizeMode::kShortest;
  Interpolation interpolation = Interpolation::kBicubic;
  CropRounding crop_rounding = CropRounding::kHalfEven;
  int fill = 0;  // padding value of kLongest, 0 to 255
  DecodeMode decode = DecodeMode::kExact;
  std::array<float, 3> mean = {0.48145466f, 0.4578275f, 0.40821073f};
  std::array<float, 3> std = {0.26862954f, 0.26130258f, 0.27577711f};
};

struct ModelSpec {
  std::string name;          // of the folder
  std::string architecture;  // one line for people
  std::string fingerprint;   // hash of used weights, preprocessing and dtype
  std::string device;        // "cpu", "mps", "cuda"
  std::string dtype;         // "f32", "f16", "bf16", "int8"
  int dimension = 0;
  ImageSpec image;
  std::vector<std::string> towers;  // "image", "text"
};

}  // namespace embedd
