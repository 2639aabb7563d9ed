// SPDX-License-Identifier: Apache-2.0
//
// embedd: flags in, server up, drained out. Knows the exit codes: 0 drained, 2 bad flags, 3 the model cannot
// be loaded, 4 an address is in use, 5 the device is missing or lost, 130 a second signal.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/config/config_parse.h"
#include "server/config/device_list.h"
#include "server/embedd_server.h"
#include "server/engine/cpu_features.h"
#include "server/engine/torch_device.h"
#include "server/engine/torch_executor.h"
#include "server/model/model_folder.h"
#include "server/prepare/image/file_decoder.h"
#include "server/prepare/text/tokenizer.h"
#include "server/release/torch_device_memory.h"
#include "server/support/cgroup.h"
#include "server/support/log.h"
#include "server/support/mutex.h"
#include "server/support/openmp_spinning.h"
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

// A device that is there, and what its executor will need.
struct Place {
  DeviceChoice choice;
  std::unique_ptr<DeviceMemory> memory;
};

// Finds the devices of --device and puts our allocators before LibTorch's. An exit code, or 0.
int FindDevices(const Config& config, std::vector<Place>* places) {
  absl::StatusOr<std::vector<DeviceChoice>> choices = ParseDeviceList(config.device);
  if (!choices.ok()) return Fail(kBadFlags, choices.status());
  for (DeviceChoice& choice : *choices) {
    const absl::StatusOr<DeviceKind> kind = ResolveDevice(choice.kind);
    if (!kind.ok()) return Fail(kNoDevice, kind.status());
    if (choice.kind == DeviceKind::kAuto) choice = {.kind = *kind, .name = std::string(DeviceWord(*kind))};
    if (absl::Status dtype = CheckDtype(config.dtype, *kind, CpuMultipliesInt8()); !dtype.ok()) {
      return Fail(kBadFlags, dtype);
    }
  }
  for (const DeviceChoice& choice : *choices) {
    const auto of = std::count_if(choices->begin(), choices->end(),
                                  [&](const DeviceChoice& other) { return other.kind == choice.kind; });
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory = CreateTorchDeviceMemory(
        choice.kind, config.memory_limit, {.number = choice.index, .of = static_cast<int>(of)});
    if (!memory.ok()) return Fail(kNoDevice, memory.status());
    places->push_back({choice, *std::move(memory)});
  }
  return 0;
}

// Threads of one operator: what the operator of the server said; else LibTorch knows best (one thread for
// each core, not for each of its hardware threads), where neither a quota nor a second device takes a part of
// them.
int OperatorThreads(const Config& config, int on_cpu) {
  if (config.threads > 0) return config.threads;
  if (on_cpu > 1) return std::max(1, UsableCores() / on_cpu);
  return CgroupCores() > 0 ? UsableCores() : 0;
}

bool Named(const Config& config, Tower tower) {
  for (const absl::string_view word : absl::StrSplit(config.towers, ',')) {
    if (word == TowerName(tower)) return true;
  }
  return false;
}

using TokenizerPtr = std::shared_ptr<const Tokenizer>;

// The tokenizer of the folder's text tower; null where texts are not served, because --towers does not want
// them, the folder has no such tower, or its tokenizer cannot be read. An error where text was asked for by
// name.
absl::StatusOr<TokenizerPtr> MakeTokenizer(const Config& config, const ModelFolder& folder) {
  const bool asked = Named(config, Tower::kText);
  if (config.towers != "auto" && !asked) return nullptr;
  if (!folder.text.has_value()) {
    if (!asked) return nullptr;
    return absl::InvalidArgumentError(
        absl::StrCat(config.model, ": --towers names text, but the folder has no text tower that is read"));
  }
  const std::filesystem::path weights(folder.files->path());
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::Create(weights.parent_path().string(), folder.text->spec);
  if (tokenizer.ok()) return TokenizerPtr(*std::move(tokenizer));
  if (asked) return tokenizer.status();
  LogWarn("texts are not served: their tokenizer cannot be read",
          {{"error", std::string(tokenizer.status().message())}});
  return nullptr;
}

// What callers are told of the towers, and how texts become ids.
void AddTowers(const Config& config, const TokenizerPtr& tokenizer, const TorchExecutor& executor,
               EmbeddServer::Model* model) {
  ModelSpec& spec = model->spec;
  spec.towers.clear();
  if (config.towers == "auto" || Named(config, Tower::kImage))
    spec.towers.emplace_back(TowerName(Tower::kImage));
  if (tokenizer != nullptr) {
    spec.towers.emplace_back(TowerName(Tower::kText));
    spec.text->lowercases = tokenizer->lowercases();
    spec.text->fingerprint = executor.TextFingerprintWith(tokenizer->identity());
    model->encode_text = [tokenizer](absl::string_view words) { return tokenizer->Encode(words).ids; };
  }
  if (!spec.Serves(Tower::kImage) || !spec.Serves(Tower::kText)) {  // nothing to compare
    spec.logit_scale.reset();
    spec.logit_bias.reset();
    spec.similarity.clear();
  }
}

// Reads the folder, makes an executor for each device, puts the weights there and serves. The exit code of a
// failure, or 0.
int LoadAndServe(const Config& config, std::vector<Place> places, EmbeddServer* server) {
  const auto on_cpu = static_cast<int>(std::count_if(places.begin(), places.end(), [](const Place& place) {
    return place.choice.kind == DeviceKind::kCpu;
  }));
  EmbeddServer::Model model;
  TokenizerPtr tokenizer;
  for (Place& place : places) {
    absl::StatusOr<ModelFolder> folder = ReadModelFolder(config.model);
    if (!folder.ok()) return Fail(kNoModel, folder.status());
    if (config.decode == "fast") folder->image.decode = DecodeMode::kFast;
    // What auto chose for the first device holds for all: their vectors must be those of one model.
    const bool first = model.devices.empty();
    if (first) {
      absl::StatusOr<TokenizerPtr> made = MakeTokenizer(config, *folder);
      if (!made.ok()) return Fail(kNoModel, made.status());
      tokenizer = *std::move(made);
    }
    if (tokenizer == nullptr) folder->text.reset();
    absl::StatusOr<std::unique_ptr<TorchExecutor>> executor =
        TorchExecutor::Create(*std::move(folder), std::move(place.memory),
                              {.device = place.choice.kind,
                               .device_index = place.choice.index,
                               .dtype = first ? config.dtype : model.spec.dtype,
                               .threads = OperatorThreads(config, on_cpu),
                               .cuda_pipeline = config.cuda_pipeline,
                               .int8_min_cosine = config.int8_min_cosine});
    if (!executor.ok()) return Fail(kNoModel, executor.status());
    if (first) {
      model.spec = (*executor)->spec();
      model.spec.device = place.choice.name;
      AddTowers(config, tokenizer, **executor, &model);
    }
    if ((*executor)->spec().fingerprint != model.spec.fingerprint) {
      return Fail(kNoModel, absl::FailedPreconditionError("the model folder changed while it was read"));
    }
    const bool processor = place.choice.kind == DeviceKind::kCpu;
    model.devices.push_back({.executor = *std::move(executor),
                             .name = place.choice.name,
                             .padded = !processor,
                             .is_processor = processor});
  }
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
  // Before LibTorch allocates anything: its allocator becomes ours.
  std::vector<Place> places;
  if (const int failed = FindDevices(config, &places); failed != 0) return failed;
  absl::StatusOr<std::unique_ptr<FileDecoder>> decoder =
      FileDecoder::Create({.max_image_bytes = config.max_image_bytes,
                           .max_pixels = config.max_pixels,
                           .formats = config.formats});
  if (!decoder.ok()) return Fail(kBadFlags, decoder.status());

  Events events;
  absl::StatusOr<std::unique_ptr<EmbeddServer>> server =
      EmbeddServer::Create(config, {.decoder = *std::move(decoder), .libtorch_version = LibTorchVersion()},
                           [&events] { events.DeviceLost(); });
  if (!server.ok()) {
    return Fail(absl::IsAlreadyExists(server.status()) ? kAddressInUse : kBadFlags, server.status());
  }
  InstallForkGuard();
  const SignalWaiter signals([&events](int) { events.Stop(); });

  std::thread loader([&] { events.Loaded(LoadAndServe(config, std::move(places), server->get())); });
  Events::Seen seen = events.Wait(/*for_load=*/true);
  if (!seen.stop && !seen.device_lost && seen.loaded == 0) seen = events.Wait(/*for_load=*/false);

  // The process ends as it stands, without a word to gRPC or to the device: threads may hang in the driver, a
  // model may be half loaded, and gRPC would cancel the calls that come while it shuts down.
  if (seen.device_lost) {
    (*server)->LeaveAfterDeviceLoss();
    std::_Exit(kNoDevice);
  }
  if (seen.stop) {
    std::_Exit((*server)->Drain() ? kDrained : kNoDevice);
  }
  (*server)->LastWords();
  std::_Exit(*seen.loaded);
}

// Sanitizers start before the libraries, too.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
[[gnu::section(".preinit_array"),
  gnu::used]] void (*const before_libraries)(int, char**, char**) = LimitSpinningBeforeLibraries;
#endif

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) { return embedd::Main(argc, argv); }
