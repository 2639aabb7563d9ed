// SPDX-License-Identifier: Apache-2.0

#include "server/model/layout_choice.h"

#include <ATen/ops/rand.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "server/model/cpu_features.h"
#include "server/model/linear_layer.h"
#include "server/support/clock.h"
#include "server/support/log.h"

namespace embedd {

bool CanUse(WeightLayout layout, at::Device device, at::ScalarType dtype) {
  if (layout == WeightLayout::kPlain) return true;
  if (!device.is_cpu()) return false;
  if (layout == WeightLayout::kPanels) return dtype == at::kFloat && PanelProduct::Available();
  return HasOneDnn() && (dtype == at::kFloat || (dtype == at::kBFloat16 && CpuMultipliesBf16()));
}

namespace {

// Seconds of the products of one block over `rows` tokens; the fastest of a few runs, so that other load
// counts less.
class BlockTimer {
 public:
  BlockTimer(const VisionConfig& c, at::ScalarType dtype, WeightLayout layout)
      : width_(c.width),
        dtype_(dtype),
        in_proj_(Make(3 * c.width, c.width, layout)),
        out_proj_(Make(c.width, c.width, layout)),
        c_fc_(Make(c.mlp_width, c.width, layout)),
        c_proj_(Make(c.width, c.mlp_width, layout)) {}

  void Run(int64_t rows, double* best) const {
    const at::Tensor x = at::rand({rows, width_}).to(dtype_);
    const absl::Time start = Clock::Real()->TimeNow();
    in_proj_.Apply(x);
    const at::Tensor y = out_proj_.ApplyAndAdd(x, x.clone());
    c_proj_.ApplyAndAdd(c_fc_.ApplyActivation(y, Activation::kGelu), y);
    *best = std::min(*best, absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start));
  }

 private:
  LinearLayer Make(int64_t out, int64_t in, WeightLayout layout) const {
    return LinearLayer(at::rand({out, in}).to(dtype_), at::rand({out}).to(dtype_), layout);
  }

  const int64_t width_;
  const at::ScalarType dtype_;
  const LinearLayer in_proj_, out_proj_, c_fc_, c_proj_;
};

}  // namespace

WeightLayout FastestLayout(const VisionConfig& config, at::ScalarType dtype) {
  if (!CpuHasAny({"avx512_f"})) {
    return CanUse(WeightLayout::kPanels, at::kCPU, dtype) ? WeightLayout::kPanels : WeightLayout::kPlain;
  }
  if (!CanUse(WeightLayout::kOneDnn, at::kCPU, dtype)) return WeightLayout::kPlain;
  const c10::InferenceMode no_gradients;
  const BlockTimer plain(config, dtype, WeightLayout::kPlain), packed(config, dtype, WeightLayout::kOneDnn);
  // One image, and enough rows to keep every core busy.
  const int64_t one = config.tokens(), many = std::max<int64_t>(400, one);
  double plain_one = 1e9, plain_many = 1e9, packed_one = 1e9, packed_many = 1e9;
  const absl::Time start = Clock::Real()->TimeNow();
  for (int round = 0; round < 4; ++round) {  // taking turns, so that a busy moment hits both
    plain.Run(one, &plain_one);
    packed.Run(one, &packed_one);
    plain.Run(many, &plain_many);
    packed.Run(many, &packed_many);
    if (round > 0 && Clock::Real()->TimeNow() - start > absl::Milliseconds(500)) break;
  }
  // Per row, a full batch counting as much as a single image.
  const double share = static_cast<double>(one) / static_cast<double>(many);
  const bool faster = packed_one + packed_many * share < plain_one + plain_many * share;
  LogInfo(faster ? "weights are packed for this processor"
                 : "weights stay plain: packing does not pay on this processor",
          {{"packed_over_plain_one_image", std::to_string(packed_one / plain_one)},
           {"packed_over_plain_full_batch", std::to_string(packed_many / plain_many)}});
  return faster ? WeightLayout::kOneDnn : WeightLayout::kPlain;
}

}  // namespace embedd
