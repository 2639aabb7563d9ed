// SPDX-License-Identifier: Apache-2.0
//
// TorchExecutor: the model on a device through LibTorch. Made by main, then used and destroyed by the device
// thread alone. Owns the tower's weights and the DeviceMemory; never logs pixels or vectors. The header does
// not see LibTorch.

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/device/executor.h"
#include "server/engine/weight_layout.h"
#include "server/model/model_folder.h"
#include "server/model/model_spec.h"
#include "server/telemetry/cuda_pipeline.h"
#include "server/telemetry/device_kind.h"
#include "server/telemetry/dtype.h"

namespace embedd {

class TorchExecutor final : public Executor {
 public:
  struct Options {
    DeviceKind device = DeviceKind::kCpu;  // what ResolveDevice answered
    int device_index = 0;                  // of the card
    Dtype dtype = Dtype::kAuto;
    int threads = 0;  // of one operator on cpu; 0 = as many as LibTorch finds cores
    // Other than off: LayerNorm reads and writes f16, too.
    CudaPipeline cuda_pipeline = CudaPipeline::kOff;
    double int8_min_cosine = 0.99;  // to f32; below it the first Load fails
    bool int8_anywhere = false;     // for tests: also without VNNI or AMX, where it is slow and less exact
  };

  // Reads every weight once (fingerprint) but does not touch the device: that is for Load, on the device
  // thread. Errors: kInvalidArgument for a dtype that CheckDtype refuses; kNotFound for a device that is not
  // there.
  static absl::StatusOr<std::unique_ptr<TorchExecutor>> Create(ModelFolder model,
                                                               std::unique_ptr<DeviceMemory> memory,
                                                               const Options& options);
  ~TorchExecutor() override;

  const ModelSpec& spec() const;
  // The text fingerprint, with what identifies the tokenizer. Of a model with a text tower; reads its weights
  // once.
  std::string TextFingerprintWith(const std::string& tokenizer) const;

  // Beside what Executor says: the first Load on a device other than cpu compares it with the cpu on fixed
  // images and answers kFailedPrecondition, with the figure, when they disagree. kDataLoss when the weights
  // file was changed on disk. In int8 the first Load calibrates and compares with f32, kInvalidArgument when
  // they are too far apart. The text tower computes in f32 then: what goes
  // into its layers would have to be noted of real texts.
  absl::Status Load(Tower tower) override;
  absl::Status Offload() override;
  bool loaded(Tower tower) const override;
  absl::Status Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                   absl::Span<float> rows) override;
  void Synchronize() override;
  void DropCompiledGraphs() override;
  DeviceMemory& memory() override;
  int dimension() const override;
  std::optional<Int8Accuracy> int8_accuracy() const override;

 private:
  struct Impl;
  static WeightLayout ChooseLayout(const Impl& impl);
  void PrepareDevice();
  absl::Status PutOnDevice();
  void RecordGraphs();
  absl::Status LoadInt8();
  absl::Status LoadText();
  explicit TorchExecutor(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace embedd
