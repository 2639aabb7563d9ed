// SPDX-License-Identifier: Apache-2.0
//
// VisionConfig: the shape of an image tower (a CLIP vision transformer), in plain data, and the tensors that
// shape needs. Filled by the folder readers, read by VisionTower, the fingerprint and the random model of the
// tests.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace embedd {

enum class Activation { kGelu, kQuickGelu, kGeluTanh };
// What becomes the embedding: the class token, or the mean of all other tokens.
enum class Pool { kToken, kAverage };

struct VisionConfig {
  int image_height = 224;
  int image_width = 224;
  int patch = 32;
  int width = 768;
  int layers = 12;
  int heads = 12;
  int mlp_width = 3072;
  int embed_dim = 512;
  double eps = 1e-5;  // of every LayerNorm
  Activation activation = Activation::kGelu;
  Pool pool = Pool::kToken;
  bool ln_pre = true;                // LayerNorm before the first block
  bool layer_scale = false;          // a learned factor per channel after attention and after the MLP
  bool final_ln_after_pool = false;  // pool first, then ln_post

  int grid_height() const { return image_height / patch; }
  int grid_width() const { return image_width / patch; }
  // The class token and one token per patch.
  int tokens() const { return 1 + grid_height() * grid_width(); }
  int head_dim() const { return width / heads; }
};

// "vision transformer, 12 layers, width 768, 12 heads, patch 32, 224x224, quick_gelu": one line for people.
std::string DescribeVision(const VisionConfig& config);

// "gelu", "quick_gelu" or "gelu_tanh".
std::string ActivationName(Activation activation);

// Every tensor of the tower and its shape, under OpenCLIP's names without the prefix "visual.".
std::map<std::string, std::vector<int64_t>> VisionTensors(const VisionConfig& config);

}  // namespace embedd
