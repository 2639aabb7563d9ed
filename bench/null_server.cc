// SPDX-License-Identifier: Apache-2.0
//
// bench_null_server: the server with its real decoder and a model that costs nothing, so that its CPU time is
// what a request costs outside the forward pass. With BENCH_BATCH_MS in the environment each batch takes that
// long, as on a device, and no processor time. Takes the flags of embedd; --model names nothing that is read.
// Ends on SIGTERM.

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>

#include "bench/common.h"
#include "server/config/config_parse.h"
#include "server/embedd_server.h"
#include "server/prepare/image/file_decoder.h"
#include "server/support/log.h"
#include "server/support/process.h"
#include "server/support/signals.h"

namespace embedd::bench {
namespace {

int Main(int argc, char** argv) {
  KeepFreedMemory();
  BlockSignals();
  const ParsedConfig parsed = Must(ParseConfig(argc, argv, ProcessEnvironment()));
  const Config& config = parsed.config;
  ConfigureLogging(config.log_level, config.log_format);
  EmbeddServer::Parts parts{.decoder = Must(FileDecoder::Create({.max_image_bytes = config.max_image_bytes,
                                                                 .max_pixels = config.max_pixels}))};
  const auto server = Must(EmbeddServer::Create(config, std::move(parts), [] { std::_Exit(5); }));
  EmbeddServer::Model model;
  model.spec.name = model.spec.architecture = "null";
  model.spec.fingerprint = "0";
  model.spec.device = "cpu";
  model.spec.dtype = Dtype::kF32;
  model.spec.dimension = 512;
  model.spec.towers = {"image"};
  const char* batch_ms = std::getenv("BENCH_BATCH_MS");
  const std::chrono::duration<double, std::milli> each(batch_ms == nullptr ? 0 : std::atof(batch_ms));
  model.devices.push_back({.executor = std::make_unique<NullExecutor>(
                               model.spec.dimension, [each](int) { std::this_thread::sleep_for(each); })});
  Must(server->Serve(std::move(model)));
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGTERM);
  sigaddset(&wanted, SIGINT);
  int signal = 0;
  sigwait(&wanted, &signal);
  server->Drain();
  return 0;
}

}  // namespace
}  // namespace embedd::bench

int main(int argc, char** argv) { return embedd::bench::Main(argc, argv); }
