// SPDX-License-Identifier: Apache-2.0
//
// bench_release: what each --release policy costs. One model on the CPU, one BatchRunner for each policy,
// taking turns in one run: images per second of wall time and of processor time, the ratio to `never`, page
// faults (memory that came back from the system) and the cache that is left after a batch.

#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "server/device/batch_runner.h"
#include "server/engine/torch_executor.h"
#include "server/model/model_folder.h"
#include "server/release/torch_device_memory.h"
#include "server/support/log.h"
#include "tests/support/random_model.h"

namespace embedd {
namespace {

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  std::exit(1);
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  Must(value.status());
  return *std::move(value);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class NobodyListens final : public CallSink {
 public:
  void OnAnswer(uint32_t, Answer) override {}
};

// A runner with one policy; the executor is shared.
struct Way {
  Way(const ReleaseKindRow& row, Executor* executor, Metrics* metrics)
      : name(row.word), policy({.kind = row.value}) {
    runner = std::make_unique<BatchRunner>(BatchRunner::Deps{.executor = executor,
                                                             .clock = Clock::Real(),
                                                             .metrics = metrics,
                                                             .device_metrics = metrics->AddDevice("cpu"),
                                                             .board = &board,
                                                             .ledger = &ledger,
                                                             .policy = &policy,
                                                             .ladder = &ladder});
  }
  const std::string name;
  const ReleasePolicy policy;
  const BucketLadder ladder{64};
  MemoryBoard board;
  BatchLedger ledger;
  std::unique_ptr<BatchRunner> runner;
  std::vector<double> wall, cpu, faults;  // of each round
  int64_t cache = 0;
};

double Seconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}

int Main(int argc, char** argv) {
  std::string model;
  int batch = 16, rounds = 15, batches = 2, threads = 1;
  int64_t limit_mib = 0;
  CLI::App app("Images per second under each --release policy");
  app.add_option("--model", model, "model folder; default: ViT-B/32 with random weights");
  app.add_option("--batch", batch, "images in a batch");
  app.add_option("--batches", batches, "batches in a turn");
  app.add_option("--rounds", rounds, "turns of each policy");
  app.add_option("--threads", threads, "of the CPU");
  app.add_option("--limit-mib", limit_mib, "--memory-limit; 0 = 0.8 of the machine");
  CLI11_PARSE(app, argc, argv);
  ConfigureLogging("warn", "text");

  std::filesystem::path made;
  if (model.empty()) {
    made = std::filesystem::temp_directory_path() / ("embedd-bench-" + std::to_string(::getpid()));
    Must(WriteRandomModel(made.string(), TowerConfig{}, 1));
    model = made.string();
  }
  const auto executor = Must(TorchExecutor::Create(
      Must(ReadModelFolder(model)), Must(CreateTorchDeviceMemory(DeviceKind::kCpu, limit_mib << 20)),
      {.dtype = Dtype::kF32, .threads = threads}));
  Must(executor->Load(Tower::kImage));
  const ImageSpec& image = executor->spec().image;
  const size_t pixel_bytes = size_t{3} * image.height * image.width;
  Metrics metrics;
  const auto call = std::make_shared<NobodyListens>();
  const auto run = [&](Way& way) {
    Batch work;
    for (int i = 0; i < batch; ++i) {
      work.tasks.emplace_back(call, static_cast<uint32_t>(i));
      work.tasks.back().pixels = std::make_unique<uint8_t[]>(pixel_bytes);
      work.tasks.back().queued_at = Clock::Real()->TimeNow();
    }
    if (way.runner->Run(std::move(work)).device_lost) Must(absl::InternalError("a batch failed"));
  };
  const auto measure = [&](Way& way) {
    run(way);  // what the policy before left in the cache is not this one's
    rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    const absl::Time start = Clock::Real()->TimeNow();
    for (int i = 0; i < batches; ++i) run(way);
    way.wall.push_back(absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start) / batches);
    getrusage(RUSAGE_SELF, &after);
    way.cpu.push_back((Seconds(after.ru_utime) + Seconds(after.ru_stime) - Seconds(before.ru_utime) -
                       Seconds(before.ru_stime)) /
                      batches);
    way.faults.push_back(static_cast<double>(after.ru_minflt - before.ru_minflt) / batches);
    const MemoryReading reading = executor->memory().Read();
    way.cache = reading.reserved - reading.allocated;
  };

  std::vector<std::unique_ptr<Way>> ways;
  for (const ReleaseKindRow& row : kReleaseKinds) {
    ways.push_back(std::make_unique<Way>(row, executor.get(), &metrics));
  }
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < ways.size(); ++i) measure(*ways[(i + static_cast<size_t>(round)) % ways.size()]);
  }
  std::printf("%s, batches of %d, %d thread(s), medians of %d rounds\n",
              executor->spec().architecture.c_str(), batch, threads, rounds);
  std::printf("%-10s %10s %14s %16s %20s %12s\n", "--release", "images/s", "images/cpu-s", "cpu-s to never",
              "page faults a batch", "cache, MiB");
  for (const auto& way : ways) {
    std::vector<double> ratios;
    for (size_t i = 0; i < way->cpu.size(); ++i) ratios.push_back(way->cpu[i] / ways[0]->cpu[i]);
    std::printf("%-10s %10.2f %14.2f %16.3f %20.0f %12.1f\n", way->name.c_str(), batch / Median(way->wall),
                batch / Median(way->cpu), Median(ratios), Median(way->faults),
                static_cast<double>(way->cache) / (1 << 20));
  }
  if (!made.empty()) std::filesystem::remove_all(made);
  return 0;
}

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) { return embedd::Main(argc, argv); }
