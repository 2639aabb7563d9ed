// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_executor.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/engine/cpu_features.h"
#include "server/engine/cuda_library.h"
#include "server/engine/cuda_pixels.h"
#include "server/engine/encoder.h"
#include "server/engine/layout_choice.h"
#include "server/engine/patches.h"
#include "server/engine/text_staging.h"
#include "server/engine/torch_device.h"
#include "server/engine/torch_error.h"
#include "server/engine/torch_int8.h"
#include "server/engine/torch_parity.h"
#include "server/engine/torch_staging.h"
#include "server/model/fingerprint.h"
#include "server/release/torch_autorelease.h"
#include "server/support/log.h"

namespace embedd {
namespace {

// Of int8 the parts that are not products of bytes.
at::ScalarType ScalarTypeOf(Dtype dtype) {
  if (dtype == Dtype::kF16) return at::kHalf;
  if (dtype == Dtype::kBf16) return at::kBFloat16;
  return at::kFloat;
}

// Of this thread, which is the device's own: what does not name a card means this one. With a stream of its
// own where graphs are recorded, since they cannot be on the default one.
void EnterCuda(at::Device device, bool own_stream) {
  const c10::impl::VirtualGuardImpl cuda(at::kCUDA);
  cuda.setDevice(device);
  if (own_stream && cuda.getStream(device) == cuda.getDefaultStream(device)) {
    cuda.exchangeStream(cuda.getStreamFromGlobalPool(device));
  }
}

// cuBLAS takes tens of megabytes with its first product and keeps them: before the weights are measured, or
// the first batch would seem to keep something.
void WarmProducts(at::Device device, at::ScalarType dtype) {
  for (const at::ScalarType type : {at::kFloat, dtype}) {
    const at::Tensor x = at::zeros({64, 64}, at::dtype(type).device(device));
    (void)at::linear(x, x, x[0]);
    (void)at::bmm(x.unsqueeze(0), x.unsqueeze(0));
  }
}

at::Device DeviceOf(DeviceKind device, int index) {
  if (device == DeviceKind::kCuda) return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
  if (device == DeviceKind::kMps) return at::Device(at::kMPS, 0);
  return at::kCPU;
}

}  // namespace

struct TorchExecutor::Impl {
  ModelFolder model;
  ModelSpec spec;
  Options options;
  std::unique_ptr<DeviceMemory> memory;
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
  std::unique_ptr<PixelStaging> staging;
  std::unique_ptr<Encoder> tower;            // null while offloaded
  std::unique_ptr<Encoder> text;             // null before the first text and while offloaded
  std::optional<WorkspaceShare> workspaces;  // on cuda, from before the first product on
  std::optional<WeightLayout> layout;        // chosen at the first Load
  bool compared_with_cpu = false, text_compared_with_cpu = false;
  Int8Calibration int8;  // of int8, from the first Load on
  std::optional<Int8Accuracy> int8_accuracy;
};

// Also sets the number of threads, which belongs to the calling thread, the device's, and which the choice
// depends on.
WeightLayout TorchExecutor::ChooseLayout(const Impl& impl) {
  if (!impl.device.is_cpu()) return WeightLayout::kPlain;
  auto layout = WeightLayout::kPlain;
  const absl::Status status = CatchTorch([&] {
    if (impl.options.threads > 0) at::set_num_threads(impl.options.threads);
    if (impl.spec.dtype == Dtype::kInt8) return;
    layout = FastestLayout(impl.model.vision, impl.dtype);
  });
  // A memory limit may hold the model and not the measurement: then plain weights do.
  if (!status.ok()) LogWarn("weight layouts were not compared", {{"error", std::string(status.message())}});
  return layout;
}

TorchExecutor::TorchExecutor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

TorchExecutor::~TorchExecutor() {
  const AutoreleasePool pool;
  impl_->tower.reset();
  impl_->text.reset();
  impl_->staging.reset();
  impl_->workspaces.reset();
}

absl::StatusOr<std::unique_ptr<TorchExecutor>> TorchExecutor::Create(ModelFolder model,
                                                                     std::unique_ptr<DeviceMemory> memory,
                                                                     const Options& options) {
  if (absl::Status status = DeviceAvailable(options.device); !status.ok()) return status;
  if (!options.int8_anywhere) {
    if (absl::Status status = CheckDtype(options.dtype, options.device, CpuMultipliesInt8()); !status.ok()) {
      return status;
    }
  }
  const auto dtype = ResolveDtype(options.dtype, options.device, model.vision);
  if (!dtype.ok()) return dtype.status();
  auto impl = std::make_unique<Impl>();
  impl->spec = MakeModelSpec(model, options.device, *dtype);
  impl->model = std::move(model);
  impl->options = options;
  impl->memory = std::move(memory);
  impl->device = DeviceOf(options.device, options.device_index);
  impl->dtype = ScalarTypeOf(*dtype);
  return std::unique_ptr<TorchExecutor>(new TorchExecutor(std::move(impl)));
}

const ModelSpec& TorchExecutor::spec() const { return impl_->spec; }

std::string TorchExecutor::TextFingerprintWith(const std::string& tokenizer) const {
  const TextTower& text = *impl_->model.text;
  // Beside int8 images texts are computed in f32.
  const Dtype dtype = impl_->spec.dtype == Dtype::kInt8 ? Dtype::kF32 : impl_->spec.dtype;
  return TextFingerprint(text.config, text.spec, text.weights, tokenizer, dtype);
}

DeviceMemory& TorchExecutor::memory() { return *impl_->memory; }
int TorchExecutor::dimension() const { return impl_->model.vision.embed_dim; }
std::optional<Int8Accuracy> TorchExecutor::int8_accuracy() const { return impl_->int8_accuracy; }

absl::Status TorchExecutor::Load(Tower tower) {
  if (tower == Tower::kText) return LoadText();
  if (impl_->tower != nullptr) return absl::OkStatus();
  if (absl::Status status = impl_->model.files->CheckUnchanged(); !status.ok()) return status;
  if (!impl_->layout) impl_->layout = ChooseLayout(*impl_);
  if (impl_->spec.dtype == Dtype::kInt8) return LoadInt8();
  absl::Status status = PutOnDevice();
  if (!status.ok() || impl_->device.is_cpu()) return status;
  RecordGraphs();
  if (impl_->compared_with_cpu) return absl::OkStatus();

  status = CheckParity(impl_->model, RowIn(kDtypes, impl_->spec.dtype).least_cosine, *this);
  if (!status.ok()) {
    // Or the next Load would find the tower there and take it for good.
    (void)Offload();
    return status;
  }
  impl_->compared_with_cpu = true;
  return absl::OkStatus();
}

absl::Status TorchExecutor::LoadText() {
  if (!impl_->model.text.has_value()) return absl::UnimplementedError("the model has no text tower");
  if (impl_->text != nullptr) return absl::OkStatus();
  if (absl::Status status = impl_->model.files->CheckUnchanged(); !status.ok()) return status;
  impl_->memory->Trim();  // what batches left in the cache would lie beside the weights
  const absl::Cleanup drop = [this] { impl_->model.files->DropPages(); };
  if (!impl_->layout) impl_->layout = ChooseLayout(*impl_);
  absl::Status status = CatchTorch([&] {
    const AutoreleasePool pool;
    const c10::InferenceMode no_gradients;
    const TextTower& text = *impl_->model.text;
    PrepareDevice();
    impl_->text = std::make_unique<Encoder>(text.config, text.weights,
                                            Encoder::Options{impl_->device, impl_->dtype, *impl_->layout});
  });
  if (!status.ok() || impl_->text_compared_with_cpu || impl_->device.is_cpu()) return status;
  status = CheckTextParity(impl_->model, RowIn(kDtypes, impl_->spec.dtype).least_cosine, *this);
  if (!status.ok()) {
    impl_->text.reset();
    return status;
  }
  impl_->text_compared_with_cpu = true;
  return absl::OkStatus();
}

// What a thread and its device need before weights come; nothing but on cuda.
void TorchExecutor::PrepareDevice() {
  if (!impl_->device.is_cuda()) return;
  EnterCuda(impl_->device, /*own_stream=*/impl_->options.cuda_pipeline == CudaPipeline::kGraphs);
  if (!impl_->workspaces.has_value()) impl_->workspaces.emplace();
  WarmProducts(impl_->device, impl_->dtype);
}

absl::Status TorchExecutor::PutOnDevice() {
  impl_->memory->Trim();  // what batches left in the cache would lie beside the weights
  const absl::Cleanup drop = [this] { impl_->model.files->DropPages(); };
  return CatchTorch([&] {
    const AutoreleasePool pool;
    const c10::InferenceMode no_gradients;
    PrepareDevice();
    const bool parts = impl_->options.cuda_pipeline != CudaPipeline::kOff;
    auto staging = std::make_unique<PixelStaging>(impl_->model.image, impl_->model.vision.patch,
                                                  impl_->device, impl_->dtype, parts);
    Encoder::Options options{impl_->device, impl_->dtype, *impl_->layout};
    options.norms_in_dtype = parts && impl_->dtype == at::kHalf;
    if (impl_->spec.dtype == Dtype::kInt8) options.int8 = &impl_->int8.ranges;
    impl_->tower = std::make_unique<Encoder>(impl_->model.vision, impl_->model.weights, options);
    impl_->staging = std::move(staging);
  });
}

// Without graphs the server is slower and works.
void TorchExecutor::RecordGraphs() {
  if (impl_->options.cuda_pipeline != CudaPipeline::kGraphs) return;
  const int64_t before = impl_->memory->Read().allocated;
  const absl::Status status = CatchTorch([&] {
    const c10::InferenceMode no_gradients;
    impl_->staging->RecordGraphs(*impl_->tower, [this] { impl_->memory->Trim(); });
  });
  Synchronize();
  if (status.ok()) {
    LogInfo("graphs of small batches were recorded",
            {{"bytes", absl::StrCat(impl_->memory->Read().allocated - before)}});
    return;
  }
  LogWarn("no graphs of small batches", {{"error", std::string(status.message())}});
  DropCompiledGraphs();
}

void TorchExecutor::DropCompiledGraphs() {
  if (impl_->staging != nullptr) impl_->staging->DropGraphs();
  impl_->memory->DropCompiledGraphs();
}

absl::Status TorchExecutor::LoadInt8() {
  if (impl_->int8.ranges.empty()) {
    absl::StatusOr<Int8Calibration> calibration = CalibrateInt8(impl_->model);
    impl_->memory->Trim();  // the f32 weights
    if (!calibration.ok()) return calibration.status();
    impl_->int8 = *std::move(calibration);
  }
  if (absl::Status status = PutOnDevice(); !status.ok() || impl_->int8_accuracy) return status;
  const absl::StatusOr<Int8Accuracy> accuracy =
      CheckInt8(impl_->model, impl_->int8, impl_->options.int8_min_cosine, *this);
  if (!accuracy.ok()) {
    impl_->tower.reset();  // or the next Load would take it for good
    return accuracy.status();
  }
  impl_->int8_accuracy = *accuracy;
  return absl::OkStatus();
}

absl::Status TorchExecutor::Offload() {
  const absl::Status status = CatchTorch([&] {
    const AutoreleasePool pool;
    impl_->tower.reset();
    impl_->text.reset();
    impl_->staging.reset();
    impl_->workspaces.reset();
    if (impl_->device.is_cuda()) DropUnusedPinned();
  });
  impl_->memory->Trim();
  return status;
}

bool TorchExecutor::loaded(Tower tower) const {
  return (tower == Tower::kImage ? impl_->tower : impl_->text) != nullptr;
}

absl::Status TorchExecutor::Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                                absl::Span<float> rows) {
  const int64_t n = static_cast<int64_t>(inputs.size());
  if (!loaded(tower)) return absl::InternalError("the model is not on the device");
  if (n < 1 || bucket < n || static_cast<int64_t>(rows.size()) != n * dimension()) {
    return absl::InternalError(
        absl::StrCat("a batch of ", n, " inputs, bucket ", bucket, ", ", rows.size(), " numbers"));
  }
  const absl::Status sound = tower == Tower::kText ? CheckIds(impl_->model.text->config, inputs)
                                                   : CheckGrids(inputs, impl_->model.image);
  if (!sound.ok()) return sound;
  return CatchTorch([&] {
    const AutoreleasePool pool;
    const c10::InferenceMode no_gradients;
    const at::Tensor result = tower == Tower::kImage
                                  ? impl_->staging->Forward(*impl_->tower, inputs, bucket)
                                  : ForwardTexts(*impl_->text, impl_->model.text->config,
                                                 impl_->model.text->spec, inputs, bucket, impl_->device);
    // Blocking, and the same type on both sides: MPS has lost data in other kinds of copies.
    const at::Tensor host = result.narrow(0, 0, n).to(at::kCPU, /*non_blocking=*/false).contiguous();
    std::memcpy(rows.data(), host.const_data_ptr<float>(), rows.size() * sizeof(float));
  });
}

void TorchExecutor::Synchronize() {
  if (impl_->device.is_cpu()) return;
  const absl::Status status = CatchTorch([&] {
    const AutoreleasePool pool;
    c10::impl::VirtualGuardImpl(impl_->device.type()).synchronizeDevice(impl_->device.index());
  });
  if (!status.ok()) LogError("the device does not synchronize", {{"error", std::string(status.message())}});
}

}  // namespace embedd
