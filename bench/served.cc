// SPDX-License-Identifier: Apache-2.0
//
// bench_served: how much of the engine reaches callers. In one process and in turn, round by round:
//   plain   the model as one would write it with LibTorch, called in a loop with batches of 16
//   engine  our executor called in a loop with batches of the same size
//   served  the whole server, 16 callers with 16 raw images a call over gRPC on loopback
// Prints images/s of each, median over the rounds with the range, and the ratios round by round.
//
//   bench_served [--model DIR] [--rounds 5] [--seconds 6] [--callers 16] [--images 16]
//
// Without --model it makes a ViT-B/32 with random weights: a model costs the same whatever its numbers are.

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/plain_loop.h"
#include "embedd/v1/embedding_service.grpc.pb.h"
#include "server/decode/vips_decoder.h"
#include "server/embedd_server.h"
#include "server/executor/torch_device.h"
#include "server/executor/torch_executor.h"
#include "server/model/model_folder.h"
#include "server/release/torch_device_memory.h"
#include "server/support/clock.h"
#include "server/support/log.h"
#include "tests/support/random_model.h"

namespace embedd {
namespace {

struct Options {
  std::string model;
  int rounds = 5;
  double seconds = 6;
  int callers = 16;
  int images = 16;
};

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "bench_served: %s\n", value.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(value);
}

void Must(const absl::Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "bench_served: %s\n", status.ToString().c_str());
    std::exit(1);
  }
}

// Images per second of `step`, which does `images` at once, repeated for about `seconds`.
double Rate(double seconds, int images, const std::function<void()>& step) {
  const absl::Time start = Clock::Real()->TimeNow();
  int64_t done = 0;
  double took = 0;
  do {
    step();
    done += images;
    took = absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start);
  } while (took < seconds);
  return static_cast<double>(done) / took;
}

// Images per second that `callers` closed-loop callers get from the server.
double ServedRate(const Options& options, const std::string& address, const v1::EmbedBatchRequest& request) {
  std::atomic<bool> stop{false};
  std::atomic<int64_t> done{0};
  std::vector<std::thread> callers;
  const absl::Time start = Clock::Real()->TimeNow();
  for (int c = 0; c < options.callers; ++c) {
    callers.emplace_back([&] {
      auto stub =
          v1::EmbeddingService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
      while (!stop) {
        grpc::ClientContext context;
        v1::EmbedBatchResponse response;
        const grpc::Status status = stub->EmbedBatch(&context, request, &response);
        if (!status.ok() || response.errors_size() > 0) {
          std::fprintf(stderr, "bench_served: %s\n", status.error_message().c_str());
          std::exit(1);
        }
        done += request.inputs_size();
      }
    });
  }
  std::thread timer([&] {
    while (absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start) < options.seconds) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    stop = true;
  });
  timer.join();
  for (std::thread& caller : callers) caller.join();
  return static_cast<double>(done) / absl::ToDoubleSeconds(Clock::Real()->TimeNow() - start);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Print(const char* name, const std::vector<double>& values, const char* unit) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  std::printf("%-18s %8.2f %s   (%.2f to %.2f)\n", name, Median(values), unit, *low, *high);
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Served throughput against loops in one process, in one run");
  app.add_option("--model", options.model, "OpenCLIP folder; default: ViT-B/32 with random weights");
  app.add_option("--rounds", options.rounds, "rounds of each");
  app.add_option("--seconds", options.seconds, "length of one measurement");
  app.add_option("--callers", options.callers, "callers at once");
  app.add_option("--images", options.images, "images a call, and a batch of the loops");
  CLI11_PARSE(app, argc, argv);
  ConfigureLogging("warn", "text");

  std::filesystem::path made;
  if (options.model.empty()) {
    made = std::filesystem::temp_directory_path() / ("embedd-bench-" + std::to_string(::getpid()));
    Must(WriteRandomModel(made.string(), VisionConfig{}, 1));
    options.model = made.string();
  }
  std::unique_ptr<DeviceMemory> memory = Must(CreateTorchDeviceMemory("cpu", 0));
  PlainLoop plain(options.model, options.images);
  auto engine = Must(TorchExecutor::Create(Must(ReadModelFolder(options.model)), std::move(memory), {}));
  Must(engine->Load());
  auto served = Must(TorchExecutor::Create(Must(ReadModelFolder(options.model)),
                                           Must(CreateTorchDeviceMemory("cpu", 0)), {}));
  const ModelSpec spec = served->spec();

  Config config;
  config.listen = {"127.0.0.1:0"};
  config.http = "off";
  config.latency_target = absl::ZeroDuration();  // both sides aim at throughput
  config.max_batch = options.images;
  auto server =
      Must(EmbeddServer::Create(config, {.decoder = Must(VipsDecoder::Create({}))}, [] { std::_Exit(5); }));
  EmbeddServer::Model model{.spec = spec};
  model.executor = std::move(served);
  Must(server->Serve(std::move(model)));

  const size_t pixels = size_t{3} * static_cast<size_t>(spec.image.height * spec.image.width);
  std::string rgb(pixels, '\0');
  for (size_t i = 0; i < pixels; ++i) rgb[i] = static_cast<char>(i * 2654435761u >> 13);
  v1::EmbedBatchRequest request;
  for (int i = 0; i < options.images; ++i) {
    v1::RawImage* raw = request.add_inputs()->mutable_raw_image();
    raw->set_width(static_cast<uint32_t>(spec.image.width));
    raw->set_height(static_cast<uint32_t>(spec.image.height));
    raw->set_rgb(rgb);
  }
  const std::vector<const uint8_t*> images(static_cast<size_t>(options.images),
                                           reinterpret_cast<const uint8_t*>(rgb.data()));
  std::vector<float> rows(images.size() * static_cast<size_t>(spec.dimension));

  std::vector<double> plain_rates, engine_rates, served_rates, served_to_engine, served_to_plain;
  for (int round = 0; round < options.rounds; ++round) {
    plain_rates.push_back(Rate(options.seconds, options.images, [&] { plain.Run(); }));
    engine_rates.push_back(Rate(options.seconds, options.images,
                                [&] { Must(engine->Run(images, options.images, absl::MakeSpan(rows))); }));
    served_rates.push_back(ServedRate(options, server->addresses()[0], request));
    served_to_engine.push_back(served_rates.back() / engine_rates.back());
    served_to_plain.push_back(served_rates.back() / plain_rates.back());
  }
  std::printf("%s, %d callers x %d raw images, %d rounds of %.0f s each, %u cores\n",
              spec.architecture.c_str(), options.callers, options.images, options.rounds, options.seconds,
              std::thread::hardware_concurrency());
  Print("plain loop", plain_rates, "images/s");
  Print("engine loop", engine_rates, "images/s");
  Print("served", served_rates, "images/s");
  Print("served / engine", served_to_engine, "        ");
  Print("served / plain", served_to_plain, "        ");
  server.reset();
  if (!made.empty()) std::filesystem::remove_all(made);
  return 0;
}

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) { return embedd::Main(argc, argv); }
