// SPDX-License-Identifier: Apache-2.0
//
// bench_engine: one contender of the engine suite, in a process of its own as it would run: "engine" is the
// server's executor with its allocator and its sleeping threads, "plain" a LibTorch loop without any trick.
// Answers each line on stdin with one JSON line, so that a runner can take turns between contenders:
//   BATCH CALLS        {"seconds": of each call}
//   compare BATCH      {"max_delta": between unit vectors of this contender and the plain tower}
//   profile BATCH CALLS  where the time of these calls goes, see ProfileCalls; of the engine and images
// The engine also normalises from uint8, which the plain loop is spared. Of the text tower (--tower text)
// only the engine is a contender.

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "bench/common.h"
#include "bench/engine_profile.h"
#include "server/engine/pixel_table.h"
#include "server/engine/torch_device.h"
#include "server/engine/torch_executor.h"
#include "server/release/torch_device_memory.h"
#include "server/support/log.h"
#include "server/support/openmp_spinning.h"
#include "tests/support/towers.h"

namespace embedd::bench {
namespace {

// Noise as uint8 and, where asked for, normalised, as the plain tower takes it.
struct Pixels {
  std::vector<uint8_t> bytes;
  std::vector<const uint8_t*> images;
  std::vector<float> floats;

  Pixels(const ImageSpec& spec, int n, bool normalised) {
    const size_t plane = static_cast<size_t>(spec.height) * static_cast<size_t>(spec.width);
    bytes.resize(3 * plane * static_cast<size_t>(n));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>((i * 2654435761u) >> 13);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) images.push_back(&bytes[3 * plane * i]);
    if (!normalised) return;
    const PixelTable table(spec);
    floats.resize(bytes.size());
    for (size_t i = 0; i < 3 * static_cast<size_t>(n); ++i) {
      table.Normalize(static_cast<int>(i % 3), &bytes[plane * i], static_cast<int64_t>(plane),
                      &floats[plane * i]);
    }
  }
};

// Ids as of long texts, all places taken. The last is the largest there is: the end, where CLIP looks for it.
struct Texts {
  std::vector<int32_t> ids;
  std::vector<const uint8_t*> texts;

  Texts(const TowerConfig& tower, int n) {
    const auto length = static_cast<size_t>(tower.context_length);
    const auto end = static_cast<uint32_t>(tower.vocabulary - 1);
    ids.resize(length * static_cast<size_t>(n));
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool last = (i + 1) % length == 0;
      ids[i] =
          static_cast<int32_t>(last ? end : 1 + (static_cast<uint32_t>(i) * 2654435761u >> 13) % (end - 1));
    }
    for (size_t i = 0; i < static_cast<size_t>(n); ++i)
      texts.push_back(reinterpret_cast<const uint8_t*>(&ids[length * i]));
  }
};

struct Options {
  std::string contender = "engine", model;
  Tower tower = Tower::kImage;
  DeviceKind device = DeviceKind::kCpu;
  Dtype dtype = Dtype::kF32;
  int threads = 0;
  std::string cuda_pipeline = "off";
};

class Contender {
 public:
  explicit Contender(const Options& options) : options_(options) {
    if (options.contender == "plain") {
      plain_ = std::make_unique<PlainTower>(Must(ReadModelFolder(options.model)));
      return;
    }
    const DeviceKind device = Must(ResolveDevice(options.device));
    engine_ = Must(TorchExecutor::Create(Must(ReadModelFolder(options.model)),
                                         Must(CreateTorchDeviceMemory(device, 0)),
                                         {.device = device,
                                          .dtype = options.dtype,
                                          .threads = options.threads,
                                          .cuda_pipeline = *ValueIn(kCudaPipelines, options.cuda_pipeline)}));
    Must(engine_->Load(options.tower));
  }

  std::vector<float> Run(const Pixels& pixels, int batch) {
    return engine_ == nullptr ? plain_->Run(batch, pixels.floats) : Run(pixels.images, batch);
  }
  std::vector<float> Run(const std::vector<const uint8_t*>& inputs, int batch) {
    std::vector<float> rows(static_cast<size_t>(batch) * static_cast<size_t>(engine_->dimension()));
    Must(engine_->Run(options_.tower, inputs, batch, absl::MakeSpan(rows)));
    return rows;
  }

  bool normalised() const { return engine_ == nullptr; }

  double Compare(const Pixels& pixels, int batch) {
    const ModelFolder model = Must(ReadModelFolder(options_.model));
    return LargestUnitDifference(PlainTower(model).Run(batch, pixels.floats), Run(pixels, batch),
                                 model.vision.embed_dim);
  }

 private:
  const Options options_;
  std::unique_ptr<TorchExecutor> engine_;
  std::unique_ptr<PlainTower> plain_;
};

template <typename Call>
std::string TimesOf(int calls, Call call) {
  std::vector<double> seconds;
  for (int i = 0; i < calls; ++i) {
    const double start = WallSeconds();
    call();
    seconds.push_back(WallSeconds() - start);
  }
  return JsonList(seconds);
}

int Main(int argc, char** argv) {
  Options options;
  std::string device(DeviceWord(options.device)), dtype(DtypeWord(options.dtype)), tower = "image";
  CLI::App app("One contender of the engine suite; reads commands from stdin");
  app.add_option("--contender", options.contender, "engine or plain")
      ->check(CLI::IsMember({"engine", "plain"}));
  app.add_option("--model", options.model, "model folder")->required();
  app.add_option("--tower", tower, "image or text; text is of the engine only")
      ->check(CLI::IsMember({"image", "text"}));
  app.add_option("--device", device, "of the engine")->check(CLI::IsMember({"cpu", "cuda", "mps"}));
  app.add_option("--dtype", dtype, "of the engine; the plain loop is f32")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "int8"}));
  app.add_option("--threads", options.threads, "of the engine; 0 = LibTorch's choice");
  app.add_option("--cuda-pipeline", options.cuda_pipeline, "of the engine, as the server's flag")
      ->check(CLI::IsMember({"off", "copies", "graphs"}));
  CLI11_PARSE(app, argc, argv);
  options.device = ValueIn(kDeviceKinds, device).value();
  options.dtype = ValueIn(kDtypes, dtype).value();
  options.tower = tower == "text" ? Tower::kText : Tower::kImage;
  if (options.contender == "engine") LimitSpinning(argv);
  ConfigureLogging("warn", "text");

  const ModelFolder folder = Must(ReadModelFolder(options.model));
  Contender contender(options);
  std::string line, word;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    int batch = 0, calls = 0;
    if (line.rfind("compare", 0) == 0) {
      words >> word >> batch;
      std::printf("{\"max_delta\": %.3g}\n", contender.Compare(Pixels(folder.image, batch, true), batch));
      std::fflush(stdout);
      continue;
    }
    if (line.rfind("profile", 0) == 0) {
      words >> word >> batch >> calls;
      const Pixels inputs(folder.image, batch, contender.normalised());
      std::puts(ProfileCalls(calls, options.device == DeviceKind::kCuda, [&] {
                  contender.Run(inputs, batch);
                }).c_str());
      std::fflush(stdout);
      continue;
    }
    words >> batch >> calls;
    std::string seconds;
    if (options.tower == Tower::kText) {
      const Texts inputs(folder.text.value().config, batch);
      seconds = TimesOf(calls, [&] { contender.Run(inputs.texts, batch); });
    } else {
      const Pixels inputs(folder.image, batch, contender.normalised());
      seconds = TimesOf(calls, [&] { contender.Run(inputs, batch); });
    }
    std::printf("{\"seconds\": %s}\n", seconds.c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace embedd::bench

int main(int argc, char** argv) { return embedd::bench::Main(argc, argv); }
