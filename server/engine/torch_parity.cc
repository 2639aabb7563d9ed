// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_parity.h"

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/engine/calibration_pictures.h"
#include "server/engine/cosine.h"
#include "server/engine/encoder.h"
#include "server/engine/text_staging.h"
#include "server/engine/torch_error.h"
#include "server/engine/torch_staging.h"
#include "server/support/log.h"

namespace embedd {
namespace {

// A smooth pattern and a rough one, the same on every machine.
std::vector<uint8_t> FixedImage(const ImageSpec& spec, int which) {
  std::vector<uint8_t> image(size_t{3} * spec.height * spec.width);
  uint32_t state = 12345;
  size_t i = 0;
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < spec.height; ++y) {
      for (int x = 0; x < spec.width; ++x) {
        state = state * 1664525u + 1013904223u;
        const int smooth = (x * 255 / spec.width + y * (c + 1) * 64 / spec.height) & 255;
        image[i++] = static_cast<uint8_t>(which == 0 ? smooth : state >> 24);
      }
    }
  }
  return AsPrepared(std::move(image), spec);
}

// `on_cpu` makes the rows that are wanted; it may throw.
absl::Status Compare(Tower tower, const std::vector<const uint8_t*>& inputs, int dimension, double lowest,
                     Executor& executor,
                     absl::FunctionRef<at::Tensor(absl::Span<const uint8_t* const>)> on_cpu) {
  std::vector<float> rows(inputs.size() * dimension), wanted(rows.size());
  if (absl::Status status =
          executor.Run(tower, inputs, static_cast<int>(inputs.size()), absl::MakeSpan(rows));
      !status.ok()) {
    return status;
  }
  const absl::Status status = CatchTorch([&] {
    const c10::InferenceMode no_gradients;
    const at::Tensor result = on_cpu(inputs).contiguous();
    std::memcpy(wanted.data(), result.const_data_ptr<float>(), wanted.size() * sizeof(float));
  });
  if (!status.ok()) return status;

  double least = 1;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const double cosine = Cosine(&rows[i * dimension], &wanted[i * dimension], dimension);
    least = std::min(least, cosine);
    if (cosine >= lowest) continue;  // false for NaN
    return absl::FailedPreconditionError(
        absl::StrCat("the device computes something else than the cpu: cosine ", cosine, " on a fixed ",
                     TowerName(tower), ", at least ", lowest, " is needed"));
  }
  LogInfo("the device agrees with the cpu", {{"tower", TowerName(tower)},
                                             {"cosine", absl::StrFormat("%.6f", least)},
                                             {"needed", absl::StrCat(lowest)}});
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckParity(const ModelFolder& model, double lowest, Executor& executor) {
  const std::vector<uint8_t> smooth = FixedImage(InOneShape(model.image, 0), 0);
  const std::vector<uint8_t> rough = FixedImage(InOneShape(model.image, 1), 1);
  return Compare(Tower::kImage, {smooth.data(), rough.data()}, model.vision.embed_dim, lowest, executor,
                 [&](absl::Span<const uint8_t* const> images) {
                   const Encoder tower(model.vision, model.weights, Encoder::Options{});
                   PixelStaging staging(model.image, model.vision.patch, at::kCPU, at::kFloat);
                   return staging.Forward(tower, images, static_cast<int64_t>(images.size()));
                 });
}

absl::Status CheckTextParity(const ModelFolder& model, double lowest, Executor& executor) {
  const TextTower& text = *model.text;
  std::vector<std::vector<int32_t>> ids(
      2, std::vector<int32_t>(static_cast<size_t>(text.config.context_length)));
  for (size_t i = 0; i < ids[0].size(); ++i) {
    ids[0][i] = static_cast<int32_t>(i * 7919 % text.config.vocabulary);
    ids[1][i] = static_cast<int32_t>((i + 5) * 104729 % text.config.vocabulary);
  }
  return Compare(
      Tower::kText,
      {reinterpret_cast<const uint8_t*>(ids[0].data()), reinterpret_cast<const uint8_t*>(ids[1].data())},
      text.config.embed_dim, lowest, executor, [&](absl::Span<const uint8_t* const> texts) {
        const Encoder tower(text.config, text.weights, Encoder::Options{});
        return ForwardTexts(tower, text.config, text.spec, texts, 2, at::kCPU);
      });
}

}  // namespace embedd
