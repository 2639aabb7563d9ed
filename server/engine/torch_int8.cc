// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_int8.h"

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/engine/calibration_pictures.h"
#include "server/engine/cosine.h"
#include "server/engine/encoder.h"
#include "server/engine/torch_error.h"
#include "server/engine/torch_staging.h"
#include "server/support/log.h"

namespace embedd {
namespace {

// Of 16, 32 and 64 calibration pictures all gave the same accuracy on the demo model's drawings, which are of
// none of our kinds.
constexpr int kCalibration = 32, kHeldOut = 16;
constexpr int kBatch = 8;

using Pictures = std::vector<std::vector<uint8_t>>;

Pictures HeldOut(const ModelFolder& model) { return CalibrationPictures(model.image, kHeldOut, 2); }

// Calls work(pointers to the pixels of up to kBatch pictures, number of the first).
template <typename Work>
void InBatches(const Pictures& pictures, const Work& work) {
  for (size_t first = 0; first < pictures.size(); first += kBatch) {
    std::vector<const uint8_t*> batch;
    for (size_t i = first; i < std::min(first + kBatch, pictures.size()); ++i) {
      batch.push_back(pictures[i].data());
    }
    work(batch, first);
  }
}

}  // namespace

absl::StatusOr<Int8Calibration> CalibrateInt8(const ModelFolder& model) {
  LogInfo("int8: noting what goes into each layer, in f32",
          {{"pictures", absl::StrCat(kCalibration + kHeldOut)}});
  Int8Calibration calibration;
  const absl::Status status = CatchTorch([&] {
    const c10::InferenceMode no_gradients;
    PixelStaging staging(model.image, model.vision.patch, at::kCPU, at::kFloat);
    InputRanges seen;
    Encoder::Options options;
    options.observed = &seen;
    const Encoder tower(model.vision, model.weights, options);
    const auto run = [&](const std::vector<const uint8_t*>& batch) {
      return staging.Forward(tower, batch, static_cast<int64_t>(batch.size())).contiguous();
    };
    InBatches(CalibrationPictures(model.image, kCalibration, 1),
              [&](const std::vector<const uint8_t*>& batch, size_t) { run(batch); });
    calibration.ranges = seen;  // as it is now: the held-out pictures must not add to it
    InBatches(HeldOut(model), [&](const std::vector<const uint8_t*>& batch, size_t) {
      const at::Tensor rows = run(batch);
      const float* values = rows.const_data_ptr<float>();
      calibration.wanted.insert(calibration.wanted.end(), values, values + rows.numel());
    });
  });
  if (!status.ok()) return status;
  return calibration;
}

absl::StatusOr<Int8Accuracy> CheckInt8(const ModelFolder& model, const Int8Calibration& calibration,
                                       double lowest, Executor& executor) {
  const size_t dimension = static_cast<size_t>(executor.dimension());
  std::vector<float> rows(calibration.wanted.size());
  absl::Status status;
  InBatches(HeldOut(model), [&](const std::vector<const uint8_t*>& batch, size_t first) {
    if (!status.ok()) return;
    status = executor.Run(Tower::kImage, batch, static_cast<int>(batch.size()),
                          absl::MakeSpan(rows).subspan(first * dimension, batch.size() * dimension));
  });
  if (!status.ok()) return status;

  Int8Accuracy accuracy{.least_cosine = 1, .mean_cosine = 0};
  for (size_t at = 0; at < rows.size(); at += dimension) {
    const double cosine = Cosine(&rows[at], &calibration.wanted[at], dimension);
    // A NaN becomes the least, and stays.
    accuracy.least_cosine = accuracy.least_cosine <= cosine ? accuracy.least_cosine : cosine;
    accuracy.mean_cosine += cosine / kHeldOut;
  }
  const std::string least = absl::StrFormat("%.5f", accuracy.least_cosine),
                    mean = absl::StrFormat("%.5f", accuracy.mean_cosine);
  if (!(accuracy.least_cosine >= lowest)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dtype int8: over ", kHeldOut, " pictures the cosine to the f32 vectors of this model is ", mean,
        " in the mean and ", least, " at least, below --int8-min-cosine ", lowest,
        "; use --dtype f32, or lower --int8-min-cosine if such vectors are good enough"));
  }
  LogInfo("int8 agrees with f32",
          {{"mean_cosine", mean}, {"least_cosine", least}, {"needed", absl::StrCat(lowest)}});
  return accuracy;
}

}  // namespace embedd
