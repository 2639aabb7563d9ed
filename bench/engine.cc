// SPDX-License-Identifier: Apache-2.0
//
// bench_engine: the forward pass of the server's engine against a plain LibTorch loop, same weights, same
// threads, taking turns in one run. Prints images per second of both, the ratio per round (median and spread)
// and the largest difference between their unit vectors. The engine also normalises from uint8, which the
// plain loop is spared.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "server/executor/torch_executor.h"
#include "server/model/pixel_table.h"
#include "server/support/clock.h"
#include "server/support/log.h"
#include "tests/support/no_device_memory.h"
#include "tests/support/random_model.h"
#include "tests/support/towers.h"

namespace embedd {
namespace {

struct Options {
  std::string model;
  std::string activation = "gelu";
  std::string dtype = "f32";
  std::vector<int> batches = {1, 16};
  int rounds = 9;
  int images = 16;
  int threads = 0;
};

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

// Images per second of `run`, which does `batch` images, over about `images` of them.
template <typename Run>
double Rate(int batch, int images, Run run) {
  const int calls = std::max(1, images / batch);
  const absl::Time start = Clock::Real()->TimeNow();
  for (int i = 0; i < calls; ++i) run();
  const double seconds = absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start);
  return seconds > 0 ? calls * batch / seconds : 0;
}

std::string Summary(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  char text[64];
  std::snprintf(text, sizeof(text), "%8.2f (%.2f to %.2f)", values[values.size() / 2], values.front(),
                values.back());
  return text;
}

// Noise as uint8 and, normalised, as the plain tower takes it.
struct Pixels {
  std::vector<uint8_t> bytes;
  std::vector<const uint8_t*> images;
  std::vector<float> floats;

  Pixels(const ImageSpec& spec, int n) {
    const size_t plane = static_cast<size_t>(spec.height) * spec.width;
    bytes.resize(3 * plane * n);
    floats.resize(bytes.size());
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>((i * 2654435761u) >> 13);
    const PixelTable table(spec);
    for (int i = 0; i < n; ++i) images.push_back(&bytes[3 * plane * i]);
    for (int i = 0; i < 3 * n; ++i) {
      table.Normalize(i % 3, &bytes[plane * i], static_cast<int64_t>(plane), &floats[plane * i]);
    }
  }
};

void Compare(const Options& options, int batch, const PlainTower& plain, TorchExecutor& engine) {
  const Pixels pixels(engine.spec().image, batch);
  std::vector<float> rows(static_cast<size_t>(batch) * engine.dimension());
  const auto run_plain = [&] { return plain.Run(batch, pixels.floats); };
  const auto run_engine = [&] { Must(engine.Run(pixels.images, batch, absl::MakeSpan(rows))); };
  const std::vector<float> wanted = run_plain();
  run_engine();
  const double difference = LargestUnitDifference(wanted, rows, engine.dimension());
  std::vector<double> plain_rates, engine_rates, ratios;
  for (int round = 0; round < options.rounds; ++round) {
    plain_rates.push_back(Rate(batch, options.images, run_plain));
    engine_rates.push_back(Rate(batch, options.images, run_engine));
    ratios.push_back(plain_rates.back() > 0 ? engine_rates.back() / plain_rates.back() : 0);
  }
  std::printf(
      "batch %d\n  plain loop  %s images/s\n  engine      %s images/s\n  engine / plain %s\n  max |delta| "
      "%.1e\n",
      batch, Summary(plain_rates).c_str(), Summary(engine_rates).c_str(), Summary(ratios).c_str(),
      difference);
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("The engine's forward pass against a plain LibTorch loop");
  app.add_option("--model", options.model, "model folder; default: ViT-B/32 with random weights");
  app.add_option("--activation", options.activation, "of the random model: gelu or quick_gelu");
  app.add_option("--dtype", options.dtype, "of the engine; the plain loop is f32");
  app.add_option("--batches", options.batches, "batch sizes");
  app.add_option("--rounds", options.rounds, "rounds of each");
  app.add_option("--images", options.images, "images in a measurement");
  app.add_option("--threads", options.threads, "of both; 0 = LibTorch's choice");
  CLI11_PARSE(app, argc, argv);
  ConfigureLogging("info", "text");

  std::filesystem::path made;
  if (options.model.empty()) {
    made = std::filesystem::temp_directory_path() / ("embedd-bench-" + std::to_string(::getpid()));
    VisionConfig config;
    if (options.activation == "quick_gelu") config.activation = Activation::kQuickGelu;
    Must(WriteRandomModel(made.string(), config, 1));
    options.model = made.string();
  }
  {
    const auto engine =
        Must(TorchExecutor::Create(Must(ReadModelFolder(options.model)), std::make_unique<NoDeviceMemory>(),
                                   {.dtype = options.dtype, .threads = options.threads}));
    Must(engine->Load());
    const PlainTower plain(Must(ReadModelFolder(options.model)));
    std::printf("%s, %s\n", engine->spec().architecture.c_str(), engine->spec().dtype.c_str());
    for (int batch : options.batches) Compare(options, batch, plain, *engine);
  }
  if (!made.empty()) std::filesystem::remove_all(made);
  return 0;
}

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) { return embedd::Main(argc, argv); }
