// SPDX-License-Identifier: Apache-2.0
//
// Config: every setting of the server, as the contract's flag table lists them. Filled once by ParseConfig
// (flag > environment EMBEDD_… > --config FILE > default), then only read.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/prepare/image/image_format.h"
#include "server/release/release_kind.h"
#include "server/telemetry/cuda_pipeline.h"
#include "server/telemetry/dtype.h"

namespace embedd {

struct Config {
  // The model
  std::string model;  // folder; required
  std::string device = "auto";
  Dtype dtype = Dtype::kAuto;
  std::string towers = "auto";  // or "image", "text", "image,text"
  double int8_min_cosine = 0.99;
  int threads = 0;  // intra-op threads of the CPU device; 0 = cores
  CudaPipeline cuda_pipeline = CudaPipeline::kOff;
  std::string decode = "exact";  // or "fast"

  // Where it listens
  std::vector<std::string> listen = {"127.0.0.1:50051"};
  std::string http = "127.0.0.1:9464";  // "off" = none
  std::string rest = "off";             // HOST:PORT of /v1/embeddings
  bool allow_insecure = false;
  std::string tls_cert, tls_key, tls_client_ca, token_file;
  std::optional<bool> reflection;  // absent: on where every address is loopback or a Unix socket

  // What a request may hold
  int64_t max_message_bytes = int64_t{64} << 20;
  int max_inputs = 1024;
  int64_t max_image_bytes = int64_t{32} << 20;
  int64_t max_pixels = 64'000'000;
  FormatSet formats;  // of pictures that are read

  // The road
  int decode_threads = 0;  // 0 = cores
  int queue_images = 1024;
  int64_t queue_bytes = int64_t{512} << 20;
  int max_batch = 64;
  absl::Duration latency_target = absl::Milliseconds(200);  // zero: throughput only

  // Memory
  int64_t memory_limit = 0;  // device bytes; 0 = recommended maximum of the device
  ReleaseKind release = ReleaseKind::kWatermark;
  absl::Duration idle_offload = absl::ZeroDuration();  // zero: off

  // Life
  absl::Duration drain_timeout = absl::Seconds(30);
  absl::Duration drain_delay = absl::ZeroDuration();
  absl::Duration max_connection_age = absl::ZeroDuration();  // zero: no limit
  std::string otlp_endpoint = "off";                         // or the URL of a collector
  std::string log_level = "info";
  std::string log_format = "auto";
};

}  // namespace embedd
