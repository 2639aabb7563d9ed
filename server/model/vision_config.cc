// SPDX-License-Identifier: Apache-2.0

#include "server/model/vision_config.h"

#include "absl/strings/str_cat.h"

namespace embedd {

std::string ActivationName(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kQuickGelu:
      return "quick_gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
  }
  return "gelu";
}

std::string DescribeVision(const VisionConfig& c) {
  std::string line = absl::StrCat("vision transformer, ", c.layers, " layers, width ", c.width, ", ", c.heads,
                                  " heads, patch ", c.patch, ", ", c.image_width, "x", c.image_height, ", ",
                                  ActivationName(c.activation));
  if (c.pool == Pool::kAverage) absl::StrAppend(&line, ", average pool");
  if (!c.ln_pre) absl::StrAppend(&line, ", no ln_pre");
  if (c.layer_scale) absl::StrAppend(&line, ", layer scale");
  return line;
}

std::map<std::string, std::vector<int64_t>> VisionTensors(const VisionConfig& c) {
  const int64_t w = c.width, m = c.mlp_width;
  std::map<std::string, std::vector<int64_t>> tensors = {
      {"class_embedding", {w}},
      {"positional_embedding", {c.tokens(), w}},
      {"conv1.weight", {w, 3, c.patch, c.patch}},
      {"ln_post.weight", {w}},
      {"ln_post.bias", {w}},
      {"proj", {w, c.embed_dim}},
  };
  if (c.ln_pre) {
    tensors["ln_pre.weight"] = {w};
    tensors["ln_pre.bias"] = {w};
  }
  for (int i = 0; i < c.layers; ++i) {
    const std::string block = absl::StrCat("transformer.resblocks.", i, ".");
    for (const char* norm : {"ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"})
      tensors[block + norm] = {w};
    tensors[block + "attn.in_proj_weight"] = {3 * w, w};
    tensors[block + "attn.in_proj_bias"] = {3 * w};
    tensors[block + "attn.out_proj.weight"] = {w, w};
    tensors[block + "attn.out_proj.bias"] = {w};
    tensors[block + "mlp.c_fc.weight"] = {m, w};
    tensors[block + "mlp.c_fc.bias"] = {m};
    tensors[block + "mlp.c_proj.weight"] = {w, m};
    tensors[block + "mlp.c_proj.bias"] = {w};
    if (c.layer_scale) {
      tensors[block + "ls_1.gamma"] = {w};
      tensors[block + "ls_2.gamma"] = {w};
    }
  }
  return tensors;
}

}  // namespace embedd
