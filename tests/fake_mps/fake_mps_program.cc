// SPDX-License-Identifier: Apache-2.0
//
// embedd_fake_mps: the program embedd, its main and everything else unchanged, on the fake MPS. Only
// TorchExecutor is another one, since the fake has no kernels: its row of an image is a known function of the
// first pixel, and some values of that pixel are faults (tests/python/test_device_loss.py). None of this is
// linked into embedd.

#include <algorithm>
#include <cstdlib>
#include <future>
#include <string>

#include "server/engine/torch_device.h"
#include "server/engine/torch_executor.h"
#include "server/support/log.h"
#include "tests/fake_mps/fake_mps.h"
#include "tests/fake_mps/fake_mps_executor.h"

namespace embedd {
namespace {

// First bytes of a picture that the test sends.
constexpr uint8_t kBrokenForGood = 250, kGarbageCounters = 251, kFailingKernel = 252, kHang = 253;

// What the environment asks for: "disagrees", "damaged", "offload hangs".
bool Fault(const char* name) {
  const char* fault = std::getenv("EMBEDD_FAKE_MPS");
  return fault != nullptr && std::string(fault) == name;
}

void HangAsTold() {
  LogWarn("the device hangs, as it was told");
  std::promise<void>().get_future().wait();
}

bool Holds(absl::Span<const uint8_t* const> images, uint8_t first_byte) {
  return std::any_of(images.begin(), images.end(),
                     [&](const uint8_t* image) { return image[0] == first_byte; });
}

}  // namespace

struct TorchExecutor::Impl {
  ModelSpec spec;
  FakeMpsExecutor device;
  bool broken = false;
};

TorchExecutor::TorchExecutor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TorchExecutor::~TorchExecutor() = default;

absl::StatusOr<std::unique_ptr<TorchExecutor>> TorchExecutor::Create(ModelFolder model,
                                                                     std::unique_ptr<DeviceMemory> memory,
                                                                     const Options& options) {
  const ModelSpec spec = MakeModelSpec(model, options.device, Dtype::kF16);
  return std::unique_ptr<TorchExecutor>(new TorchExecutor(
      std::make_unique<Impl>(Impl{spec, FakeMpsExecutor(std::move(memory), model.vision.embed_dim)})));
}

const ModelSpec& TorchExecutor::spec() const { return impl_->spec; }
std::string TorchExecutor::TextFingerprintWith(const std::string& tokenizer) const {
  return "fake-" + tokenizer;
}
DeviceMemory& TorchExecutor::memory() { return impl_->device.memory(); }
int TorchExecutor::dimension() const { return impl_->device.dimension(); }
absl::Status TorchExecutor::Offload() {
  if (Fault("offload hangs")) HangAsTold();
  return impl_->device.Offload();
}
bool TorchExecutor::loaded(Tower tower) const { return impl_->device.loaded(tower); }
std::optional<Int8Accuracy> TorchExecutor::int8_accuracy() const { return std::nullopt; }
void TorchExecutor::Synchronize() {}
void TorchExecutor::DropCompiledGraphs() { memory().DropCompiledGraphs(); }

absl::Status TorchExecutor::Load(Tower tower) {
  if (Fault("disagrees")) {
    return absl::FailedPreconditionError("the device computes something else than the cpu: cosine 0.31");
  }
  if (Fault("damaged")) return absl::DataLossError("the weights file was changed on disk");
  return impl_->device.Load(tower);
}

absl::Status TorchExecutor::Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                                absl::Span<float> rows) {
  if (Holds(inputs, kHang)) HangAsTold();
  impl_->broken = impl_->broken || Holds(inputs, kBrokenForGood);
  if (impl_->broken || Holds(inputs, kFailingKernel)) return absl::InternalError("a kernel failed");
  if (Holds(inputs, kGarbageCounters)) FakeMps::Get().heaps().SetGarbage((uint64_t{1} << 56) + 12345);
  return impl_->device.Run(tower, inputs, bucket, rows);
}

}  // namespace embedd
