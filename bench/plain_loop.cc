// SPDX-License-Identifier: Apache-2.0

#include "bench/plain_loop.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <map>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "server/model/model_folder.h"
#include "server/model/weight_loader.h"

namespace embedd {

struct PlainLoop::Impl {
  VisionConfig config;
  std::map<std::string, at::Tensor> w;
  at::Tensor pixels;

  at::Tensor Norm(const std::string& name, const at::Tensor& x) {
    return at::layer_norm(x, {config.width}, w.at(name + ".weight"), w.at(name + ".bias"), config.eps);
  }
  at::Tensor Linear(const std::string& name, const at::Tensor& x) {
    return at::linear(x, w.at(name + ".weight"), w.at(name + ".bias"));
  }
  at::Tensor Activate(const at::Tensor& x) {
    if (config.activation == Activation::kQuickGelu) return x * at::sigmoid(1.702 * x);
    return at::gelu(x, config.activation == Activation::kGeluTanh ? "tanh" : "none");
  }

  at::Tensor Attention(const std::string& block, const at::Tensor& x) {
    const int64_t n = x.size(0), tokens = x.size(1);
    at::Tensor qkv = at::linear(x, w.at(block + ".attn.in_proj_weight"), w.at(block + ".attn.in_proj_bias"));
    qkv = qkv.view({n, tokens, 3, config.heads, config.head_dim()}).permute({2, 0, 3, 1, 4});
    const at::Tensor y = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
    return Linear(block + ".attn.out_proj", y.transpose(1, 2).reshape({n, tokens, config.width}));
  }

  at::Tensor Forward() {
    at::Tensor x = at::conv2d(pixels, w.at("conv1.weight"), {}, config.patch).flatten(2).transpose(1, 2);
    const at::Tensor cls = w.at("class_embedding").expand({x.size(0), 1, config.width});
    x = at::cat({cls, x}, 1) + w.at("positional_embedding");
    if (config.ln_pre) x = Norm("ln_pre", x);
    for (int i = 0; i < config.layers; ++i) {
      const std::string block = absl::StrCat("transformer.resblocks.", i);
      x = x + Attention(block, Norm(block + ".ln_1", x));
      x = x + Linear(block + ".mlp.c_proj", Activate(Linear(block + ".mlp.c_fc", Norm(block + ".ln_2", x))));
    }
    return at::matmul(Norm("ln_post", x).select(1, 0), w.at("proj"));
  }
};

PlainLoop::PlainLoop(const std::string& folder, int batch) : impl_(std::make_unique<Impl>()) {
  absl::StatusOr<ModelFolder> model = ReadModelFolder(folder);
  if (!model.ok()) throw std::runtime_error(model.status().ToString());
  impl_->config = model->vision;
  for (const auto& [name, source] : model->weights.tensors) {
    impl_->w[name] = LoadWeight(source, at::kCPU, at::kFloat);
  }
  impl_->pixels = at::randn({batch, 3, impl_->config.image_height, impl_->config.image_width});
}

PlainLoop::~PlainLoop() = default;

void PlainLoop::Run() {
  const c10::InferenceMode no_gradients;
  impl_->Forward();
}

}  // namespace embedd
