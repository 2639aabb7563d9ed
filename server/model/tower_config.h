// SPDX-License-Identifier: Apache-2.0
//
// TowerConfig: the shape of a tower, of images or of text, in plain data, and the tensors that shape needs.
// Every family that is served is one pre-norm transformer with the switches below:
//   x += scale_1 * out(attention(ln_1(x)));  x += scale_2 * mlp(ln_2(x))
// Filled by the folder readers, read by Encoder, the fingerprint and the random model of the tests.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace embedd {

enum class Activation { kGelu, kQuickGelu, kGeluTanh, kSilu };

// What becomes the embedding.
enum class Pool {
  kToken,      // the class token, after the last norm
  kAverage,    // the mean of the patches
  kAttention,  // what one learned query takes from the tokens, and an MLP on it (SigLIP, PE-Core)
  kPosition,   // the token of a text that its ids say (TextSpec)
};

// What turns the input into tokens.
enum class Stem {
  kPatches,  // one product over each patch
  kPixels,   // the same, whose weight holds a patch pixel by pixel and not plane by plane (NaFlex)
  kSteps,    // three products, over 4x4 pixels, 2x2 and 2x2 of what came out (MobileCLIP-B)
  kWords,    // a table of token embeddings
};

// Which tokens have a learned position.
enum class Positions { kAll, kPatches, kNone };
// How learned positions of another grid than the image's are brought to it.
enum class PositionResize {
  kNone,
  kBicubic,
  kBicubicAntialias,
  kEachImage,  // to the grid of each image, bilinear with antialias (NaFlex)
};

// Rotary positions of the patches, of queries and keys in every block.
struct Rope {
  enum class Kind {
    kNone,
    kNeighbours,  // EVA02, PE-Core: angles in coordinates of a reference grid, pairs of neighbours turn
    kHalves,      // DINOv3: angles in coordinates from -1 to 1, the halves of a head turn
  };
  Kind kind = Kind::kNone;
  double theta = 10000;
  int reference = 0;  // side of the grid whose coordinates count; 0: the image's own
  double offset = 0;  // added to rows and columns
  bool columns_first = false;
};

struct TowerConfig {
  int image_height = 224;
  int image_width = 224;
  int patch = 32;
  int width = 768;
  int layers = 12;
  int heads = 12;
  int mlp_width = 3072;  // of the hidden layer; where it is gated, of each half
  int embed_dim = 512;
  double eps = 1e-5;  // of every LayerNorm
  Activation activation = Activation::kGelu;
  Pool pool = Pool::kToken;
  bool ln_pre = true;                // LayerNorm before the first block
  bool layer_scale = false;          // a learned factor per channel after attention and after the MLP
  bool final_ln_after_pool = false;  // pool first, then ln_post

  Stem stem = Stem::kPatches;
  bool patch_bias = false;
  bool class_token = true;
  int registers = 0;  // learned tokens between class token and patches
  Positions positions = Positions::kAll;
  PositionResize position_resize = PositionResize::kNone;
  int max_patches = 0;    // images of any grid of up to so many (NaFlex); 0: of image_height x image_width
  int position_grid = 0;  // side of the square grid of the learned positions; 0: the image's own grid
  Rope rope;
  bool query_bias = true, key_bias = true, value_bias = true;
  bool attention_norm = false;  // LayerNorm on the joined heads, before `out`
  bool gated_mlp = false;       // the hidden layer is activation(first half) * second half
  bool mlp_norm = false;        // LayerNorm on the hidden layer
  int pool_heads = 0;           // of Pool::kAttention
  int pool_mlp_width = 0;
  bool pool_prefix = true;  // class token and registers are among what it takes from
  bool projection = true;   // of the pooled token to embed_dim; without, embed_dim is width
  bool projection_bias = false;
  // Of text.
  int vocabulary = 0;
  int context_length = 0;
  bool causal = false;  // a token sees those before it only

  bool text() const { return stem == Stem::kWords; }
  int grid_height() const { return image_height / patch; }
  int grid_width() const { return image_width / patch; }
  // Before the patches: class token and registers.
  int prefix_tokens() const { return text() ? 0 : (class_token ? 1 : 0) + registers; }
  // Of one input in a batch; where grids vary, with what the shorter ones are filled up with.
  int tokens() const {
    if (text()) return context_length;
    return prefix_tokens() + (max_patches > 0 ? max_patches : grid_height() * grid_width());
  }
  int head_dim() const { return width / heads; }
  bool qkv_bias() const { return query_bias || key_bias || value_bias; }
};

// "vision transformer, 12 layers, width 768, 12 heads, patch 32, 224x224, quick_gelu": one line for people.
std::string DescribeTower(const TowerConfig& config);

// "gelu", "quick_gelu", "gelu_tanh" or "silu".
std::string ActivationName(Activation activation);

// Every tensor of the tower and its shape, under OpenCLIP's names without the prefix "visual." where it has
// one.
std::map<std::string, std::vector<int64_t>> TowerTensors(const TowerConfig& config);

}  // namespace embedd
