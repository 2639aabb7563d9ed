// SPDX-License-Identifier: Apache-2.0

#include "server/engine/layout_choice.h"

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_format.h"
#include "server/engine/cpu_features.h"
#include "server/engine/linear_layer.h"
#include "server/support/clock.h"
#include "server/support/log.h"
#include "server/support/mutex.h"

namespace embedd {

bool CanUse(WeightLayout layout, at::Device device, at::ScalarType dtype) {
  if (layout == WeightLayout::kPlain) return true;
  if (!device.is_cpu()) return false;
  if (layout == WeightLayout::kPanels) return dtype == at::kFloat && PanelProduct::Available();
  return HasOneDnn() && (dtype == at::kFloat || (dtype == at::kBFloat16 && CpuMultipliesBf16()));
}

namespace {

const char* Name(WeightLayout layout) {
  switch (layout) {
    case WeightLayout::kPlain:
      return "plain";
    case WeightLayout::kOneDnn:
      return "onednn";
    case WeightLayout::kPanels:
      return "panels";
  }
  return "unknown";
}

// Times the MLP of a block in one layout, for one image and for enough rows to keep every core busy; the
// fastest of a few runs, so that other load counts less. Attention's products rank the same, and only make
// the start longer.
class MlpTimer {
 public:
  MlpTimer(const TowerConfig& c, at::ScalarType dtype, WeightLayout layout)
      : layout_(layout),
        dtype_(dtype),
        width_(c.width),
        one_(c.tokens()),
        many_(std::max<int64_t>(400, c.tokens())),
        // Any numbers do, and drawing millions of random ones would take longer than the measurement.
        c_fc_(Filled({c.mlp_width, c.width}), Filled({c.mlp_width}), layout),
        c_proj_(Filled({c.width, c.mlp_width}), Filled({c.width}), layout) {}

  void Run() {
    best_one_ = std::min(best_one_, Seconds(one_));
    best_many_ = std::min(best_many_, Seconds(many_));
  }

  WeightLayout layout() const { return layout_; }
  // A full batch counts as much as a single image.
  double microseconds_per_token() const {
    return 1e6 * (best_one_ / static_cast<double>(one_) + best_many_ / static_cast<double>(many_)) / 2;
  }

 private:
  at::Tensor Filled(at::IntArrayRef shape) const {
    return at::full(shape, 1.0 / static_cast<double>(width_), at::dtype(dtype_));
  }

  double Seconds(int64_t rows) const {
    const at::Tensor x = Filled({rows, width_});
    const absl::Time start = Clock::Real()->TimeNow();
    c_proj_.ApplyAndAdd(c_fc_.ApplyActivation(x, Activation::kGelu), x);
    return absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start);
  }

  WeightLayout layout_;
  at::ScalarType dtype_;
  int64_t width_, one_, many_;
  LinearLayer c_fc_, c_proj_;
  double best_one_ = 1e9, best_many_ = 1e9;
};

// The layouts that may be the fastest here. Panels are it without asking with AMX (Granite Rapids: up to 1.6
// times as fast as oneDNN's layout), and with AVX2 and no AVX-512 (Zen 3, two threads: plain over panels 1.5
// to 2 at one image, 1.03 to 1.1 at sixteen; oneDNN's layout loses there).
std::vector<WeightLayout> Candidates(at::ScalarType dtype) {
  const bool panels = CanUse(WeightLayout::kPanels, at::kCPU, dtype);
  if (!CpuHasAny({"avx512_f"})) return {panels ? WeightLayout::kPanels : WeightLayout::kPlain};
  if (panels && WidestPanelKernel()->in_tiles) return {WeightLayout::kPanels};
  std::vector<WeightLayout> usable;
  for (const WeightLayout layout : {WeightLayout::kPlain, WeightLayout::kOneDnn, WeightLayout::kPanels}) {
    if (CanUse(layout, at::kCPU, dtype)) usable.push_back(layout);
  }
  return usable;
}

MeasuredLayout Measure(const TowerConfig& config, at::ScalarType dtype) {
  const c10::InferenceMode no_gradients;
  std::vector<MlpTimer> timers;
  for (const WeightLayout layout : Candidates(dtype)) timers.emplace_back(config, dtype, layout);
  const absl::Time start = Clock::Real()->TimeNow();
  for (int round = 0; round < 4; ++round) {  // taking turns, so that a busy moment hits all
    for (MlpTimer& timer : timers) timer.Run();
    if (round > 0 && Clock::Real()->TimeNow() - start > absl::Milliseconds(150)) break;
  }

  // Panels, where they are among them, come last and win unless another is a tenth faster: they fetch what
  // comes next from memory, while here a block may still be in the cache.
  const MlpTimer* fastest = &timers.back();
  const double advantage = fastest->layout() == WeightLayout::kPanels ? 0.9 : 1.0;
  double enough = advantage * fastest->microseconds_per_token();
  std::string measured;
  for (const MlpTimer& timer : timers) {
    const double cost = timer.microseconds_per_token();
    if (cost < enough) {
      fastest = &timer;
      enough = cost;
    }
    absl::StrAppendFormat(&measured, "%s%s %.2f", measured.empty() ? "" : ", ", Name(timer.layout()), cost);
  }
  LogInfo("layouts of weights were measured", {{"dtype", c10::toString(dtype)},
                                               {"chosen", Name(fastest->layout())},
                                               {"microseconds_per_token", measured}});
  return {fastest->layout(), fastest->microseconds_per_token()};
}

}  // namespace

MeasuredLayout MeasureLayouts(const TowerConfig& config, at::ScalarType dtype) {
  using Shape = std::tuple<int64_t, int64_t, int64_t, at::ScalarType, int>;
  static Mutex mu;
  static auto* const measured = new std::map<Shape, MeasuredLayout>;
  const Shape shape(config.width, config.mlp_width, config.tokens(), dtype, at::get_num_threads());
  MutexLock lock(&mu);
  const auto it = measured->find(shape);
  return it != measured->end() ? it->second : measured->emplace(shape, Measure(config, dtype)).first->second;
}

WeightLayout FastestLayout(const TowerConfig& config, at::ScalarType dtype) {
  const std::vector<WeightLayout> candidates = Candidates(dtype);
  return candidates.size() == 1 ? candidates.front() : MeasureLayouts(config, dtype).layout;
}

}  // namespace embedd
