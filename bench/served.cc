// SPDX-License-Identifier: Apache-2.0
//
// bench_served: how much of the engine reaches callers. In one process and in turn, round by round:
//   engine  our executor called in a loop
//   served  the whole server, closed-loop callers with raw images over gRPC on loopback
// Prints one JSON line: of each round the images per second, the median and the 99th percentile of a call.
//
//   bench_served --model DIR [--rounds 5] [--seconds 6] [--callers 16] [--images 16]
//
// With --target HOST:PORT it only calls a server that runs already, and prints "served" alone: callers
// written in Python give out before a GPU does. --file FILE sends that picture instead of pixels.

#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/common.h"
#include "embedd/v1/embedding_service.grpc.pb.h"
#include "server/embedd_server.h"
#include "server/engine/torch_executor.h"
#include "server/model/model_folder.h"
#include "server/prepare/image/file_decoder.h"
#include "server/release/torch_device_memory.h"
#include "server/support/log.h"
#include "server/support/openmp_spinning.h"
#include "server/support/process.h"

namespace embedd::bench {
namespace {

struct Options {
  std::string model, target, file;
  int rounds = 5;
  double seconds = 6;
  int callers = 16;
  int images = 16;
};

struct Figures {
  std::vector<double> images_per_second, median_ms, p99_ms;
};

// Repeats `step`, which does `images` at once, for about `seconds` from each of `callers` threads.
void Measure(const Options& options, int callers, const std::function<void(int caller)>& step,
             Figures* figures) {
  std::vector<std::vector<double>> times(static_cast<size_t>(callers));
  std::vector<std::thread> threads;
  const double start = WallSeconds();
  const auto loop = [&](int caller) {
    double now = WallSeconds();
    while (now - start < options.seconds) {
      const double began = now;
      step(caller);
      now = WallSeconds();
      times[static_cast<size_t>(caller)].push_back(now - began);
    }
  };
  for (int c = 1; c < callers; ++c) threads.emplace_back(loop, c);
  loop(0);
  for (std::thread& thread : threads) thread.join();
  const double took = WallSeconds() - start;
  std::vector<double> all;
  for (const std::vector<double>& own : times) all.insert(all.end(), own.begin(), own.end());
  std::sort(all.begin(), all.end());
  figures->images_per_second.push_back(static_cast<double>(all.size()) * options.images / took);
  figures->median_ms.push_back(1e3 * all[all.size() / 2]);
  figures->p99_ms.push_back(1e3 * all[all.size() * 99 / 100]);
}

void Print(const char* name, const Figures& figures, const char* end) {
  std::printf("\"%s\": {\"images_per_second\": %s, \"median_ms\": %s, \"p99_ms\": %s}%s", name,
              JsonList(figures.images_per_second).c_str(), JsonList(figures.median_ms).c_str(),
              JsonList(figures.p99_ms).c_str(), end);
}

std::string Noise(const ImageSpec& image) {
  std::string rgb(size_t{3} * static_cast<size_t>(image.height * image.width), '\0');
  for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<char>(i * 2654435761u >> 13);
  return rgb;
}

// A call with as many images as the options say: the picture they name, or `rgb`.
v1::EmbedBatchRequest MakeRequest(const Options& options, const ImageSpec& image, const std::string& rgb) {
  std::string bytes;
  if (!options.file.empty()) {
    std::ifstream file(options.file, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  v1::EmbedBatchRequest request;
  for (int i = 0; i < options.images; ++i) {
    v1::Input* input = request.add_inputs();
    if (!bytes.empty()) {
      input->set_image(bytes);
      continue;
    }
    v1::RawImage* raw = input->mutable_raw_image();
    raw->set_width(static_cast<uint32_t>(image.width));
    raw->set_height(static_cast<uint32_t>(image.height));
    raw->set_rgb(rgb);
  }
  return request;
}

std::vector<std::unique_ptr<v1::EmbeddingService::Stub>> Connect(const Options& options,
                                                                 const std::string& address) {
  std::vector<std::unique_ptr<v1::EmbeddingService::Stub>> stubs;
  for (int c = 0; c < options.callers; ++c) {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stubs.push_back(v1::EmbeddingService::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own)));
  }
  return stubs;
}

void Call(v1::EmbeddingService::Stub& stub, const v1::EmbedBatchRequest& request) {
  grpc::ClientContext context;
  v1::EmbedBatchResponse response;
  const grpc::Status status = stub.EmbedBatch(&context, request, &response);
  if (!status.ok() || response.errors_size() > 0) Must(absl::InternalError(status.error_message()));
}

int CallTarget(const Options& options) {
  const ImageSpec image = Must(ReadModelFolder(options.model)).image;
  const v1::EmbedBatchRequest request = MakeRequest(options, image, Noise(image));
  const auto stubs = Connect(options, options.target);
  Figures served;
  for (int round = 0; round < options.rounds; ++round) {
    Measure(
        options, options.callers, [&](int c) { Call(*stubs[static_cast<size_t>(c)], request); }, &served);
  }
  std::printf("{");
  Print("served", served, "}\n");
  return 0;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Served throughput and latency against the same engine in a loop, in one run");
  app.add_option("--model", options.model, "model folder")->required();
  app.add_option("--rounds", options.rounds, "rounds of each");
  app.add_option("--seconds", options.seconds, "length of one measurement");
  app.add_option("--callers", options.callers, "callers at once");
  app.add_option("--images", options.images, "images a call, and a batch of the loop");
  app.add_option("--target", options.target, "HOST:PORT of a server to call; none is started");
  app.add_option("--file", options.file, "a picture to send instead of pixels");
  CLI11_PARSE(app, argc, argv);
  LimitSpinning(argv);
  KeepFreedMemory();
  ConfigureLogging("warn", "text");
  if (!options.target.empty()) return CallTarget(options);

  const auto make_executor = [&] {
    return Must(TorchExecutor::Create(Must(ReadModelFolder(options.model)),
                                      Must(CreateTorchDeviceMemory(DeviceKind::kCpu, 0)),
                                      {.dtype = Dtype::kF32}));
  };
  const auto engine = make_executor();
  Must(engine->Load(Tower::kImage));

  Config config;
  config.listen = {"127.0.0.1:0"};
  config.http = "off";
  config.latency_target = absl::ZeroDuration();  // both sides aim at throughput
  config.max_batch = options.images;
  auto server =
      Must(EmbeddServer::Create(config, {.decoder = Must(FileDecoder::Create({}))}, [] { std::_Exit(5); }));
  auto executor = make_executor();
  EmbeddServer::Model model{.spec = executor->spec()};
  model.devices.push_back({.executor = std::move(executor), .is_processor = true});
  Must(server->Serve(std::move(model)));

  const ImageSpec image = engine->spec().image;
  const std::string rgb = Noise(image);
  const v1::EmbedBatchRequest request = MakeRequest(options, image, rgb);
  const std::vector<const uint8_t*> images(static_cast<size_t>(options.images),
                                           reinterpret_cast<const uint8_t*>(rgb.data()));
  std::vector<float> rows(images.size() * static_cast<size_t>(engine->dimension()));
  auto stubs = Connect(options, server->addresses()[0]);

  Figures looped, served;
  for (int round = 0; round < options.rounds; ++round) {
    Measure(
        options, 1,
        [&](int) { Must(engine->Run(Tower::kImage, images, options.images, absl::MakeSpan(rows))); },
        &looped);
    Measure(
        options, options.callers, [&](int c) { Call(*stubs[static_cast<size_t>(c)], request); }, &served);
  }
  std::printf("{");
  Print("engine", looped, ", ");
  Print("served", served, "}\n");
  stubs.clear();
  server.reset();
  return 0;
}

}  // namespace
}  // namespace embedd::bench

int main(int argc, char** argv) { return embedd::bench::Main(argc, argv); }
