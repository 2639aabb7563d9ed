// SPDX-License-Identifier: Apache-2.0
//
// embedd: flags in, server up, drained out. Knows the exit codes: 0 drained, 2 bad flags, 3 the model cannot
// be loaded, 4 an address is in use, 5 the device is missing or lost, 130 a second signal.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/config/config_parse.h"
#include "server/embedd_server.h"
#include "server/engine/cpu_features.h"
#include "server/engine/torch_device.h"
#include "server/engine/torch_executor.h"
#include "server/model/model_folder.h"
#include "server/prepare/image/file_decoder.h"
#include "server/release/torch_device_memory.h"
#include "server/support/cgroup.h"
#include "server/support/log.h"
#include "server/support/mutex.h"
#include "server/support/process.h"
#include "server/support/signals.h"

namespace embedd {
namespace {

enum ExitCode { kDrained = 0, kBadFlags = 2, kNoModel = 3, kAddressInUse = 4, kNoDevice = 5 };

// What happened while main waits.
class Events {
 public:
  void Stop() { Set(&Seen::stop); }
  void DeviceLost() { Set(&Seen::device_lost); }
  void Loaded(int exit_code) {
    MutexLock lock(&mu_);
    seen_.loaded = exit_code;
    changed_.SignalAll();
  }
  struct Seen {
    bool stop = false, device_lost = false;
    std::optional<int> loaded;  // 0, or the exit code of a failure
  };
  // Waits for a signal, the loss of the device, or, when `for_load`, the end of loading.
  Seen Wait(bool for_load) {
    MutexLock lock(&mu_);
    while (!seen_.stop && !seen_.device_lost && !(for_load && seen_.loaded.has_value())) changed_.Wait(&mu_);
    return seen_;
  }

 private:
  void Set(bool Seen::*what) {
    MutexLock lock(&mu_);
    seen_.*what = true;
    changed_.SignalAll();
  }
  Mutex mu_;
  CondVar changed_;
  Seen seen_ ABSL_GUARDED_BY(mu_);
};

int Fail(int exit_code, const absl::Status& status) {
  LogError(std::string(status.message()), {{"exit_code", absl::StrCat(exit_code)}});
  return exit_code;
}

// Reads the folder, makes the executor, puts the weights on the device and serves. The exit code of a
// failure, or 0.
int LoadAndServe(const Config& config, const std::string& device, std::unique_ptr<DeviceMemory> memory,
                 EmbeddServer* server) {
  absl::StatusOr<ModelFolder> folder = ReadModelFolder(config.model);
  if (!folder.ok()) return Fail(kNoModel, folder.status());
  if (config.decode == "fast") folder->image.decode = DecodeMode::kFast;
  // Without a quota LibTorch knows best: one thread for each core, not for each of its hardware threads.
  const int quota = CgroupCores() > 0 ? UsableCores() : 0;
  absl::StatusOr<std::unique_ptr<TorchExecutor>> executor =
      TorchExecutor::Create(*std::move(folder), std::move(memory),
                            {.device = device,
                             .dtype = config.dtype,
                             .threads = config.threads > 0 ? config.threads : quota,
                             .int8_min_cosine = config.int8_min_cosine});
  if (!executor.ok()) return Fail(kNoModel, executor.status());
  EmbeddServer::Model model{.spec = (*executor)->spec(), .padded = device != "cpu"};
  model.executor = *std::move(executor);
  const absl::Status served = server->Serve(std::move(model));
  if (served.ok()) return 0;
  // The device is gone, or computes something else than the CPU; anything else is about the model.
  const bool device_failed = absl::IsUnavailable(served) || absl::IsFailedPrecondition(served);
  return Fail(device_failed ? kNoDevice : kNoModel, served);
}

int Main(int argc, char** argv) {
  LimitSpinning(argv);
  KeepFreedMemory();
  BlockSignals();  // before the first thread, so that all inherit it
  absl::StatusOr<ParsedConfig> parsed = ParseConfig(argc, argv, ProcessEnvironment());
  if (!parsed.ok()) {
    std::fprintf(stderr, "embedd: %s\n", std::string(parsed.status().message()).c_str());
    return kBadFlags;
  }
  if (!parsed->output.empty()) {
    std::fputs(parsed->output.c_str(), stdout);
    return kDrained;
  }
  const Config& config = parsed->config;
  ConfigureLogging(config.log_level, config.log_format);
  for (const std::string& warning : parsed->warnings) LogWarn(warning);

  if (absl::Status torch = CheckLibTorch(); !torch.ok()) return Fail(kNoDevice, torch);
  absl::StatusOr<std::string> device = ResolveDevice(config.device);
  if (!device.ok())
    return Fail(absl::IsInvalidArgument(device.status()) ? kBadFlags : kNoDevice, device.status());
  if (absl::Status dtype = CheckDtype(config.dtype, *device, CpuMultipliesInt8()); !dtype.ok()) {
    return Fail(kBadFlags, dtype);
  }
  // Before LibTorch allocates anything: its allocator becomes ours.
  absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
      CreateTorchDeviceMemory(*device, config.memory_limit);
  if (!memory.ok()) return Fail(kNoDevice, memory.status());
  absl::StatusOr<std::unique_ptr<FileDecoder>> decoder =
      FileDecoder::Create({.max_image_bytes = config.max_image_bytes,
                           .max_pixels = config.max_pixels,
                           .formats = config.formats});
  if (!decoder.ok()) return Fail(kBadFlags, decoder.status());

  Events events;
  absl::StatusOr<std::unique_ptr<EmbeddServer>> server = EmbeddServer::Create(
      config,
      {.decoder = *std::move(decoder), .libvips_version = "none", .libtorch_version = LibTorchVersion()},
      [&events] { events.DeviceLost(); });
  if (!server.ok()) {
    return Fail(absl::IsAlreadyExists(server.status()) ? kAddressInUse : kBadFlags, server.status());
  }
  InstallForkGuard();
  const SignalWaiter signals([&events](int) { events.Stop(); });

  std::thread loader(
      [&] { events.Loaded(LoadAndServe(config, *device, *std::move(memory), server->get())); });
  Events::Seen seen = events.Wait(/*for_load=*/true);
  if (!seen.stop && !seen.device_lost && seen.loaded == 0) seen = events.Wait(/*for_load=*/false);

  // The process ends as it stands, without a word to gRPC or to the device: threads may hang in the driver, a
  // model may be half loaded, and gRPC would cancel the calls that come while it shuts down.
  if (seen.device_lost) {
    (*server)->LeaveAfterDeviceLoss();
    std::_Exit(kNoDevice);
  }
  if (seen.stop) {
    (*server)->Drain();
    std::_Exit(kDrained);
  }
  (*server)->LastWords();
  std::_Exit(*seen.loaded);
}

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) { return embedd::Main(argc, argv); }
