// SPDX-License-Identifier: Apache-2.0
//
// The requests that `bench` sends, made once before the clock starts.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "embedd/client.h"
#include "grpcpp/support/byte_buffer.h"

namespace embedd::ctl {

struct BenchInput {
  std::vector<std::string> files;  // empty: drawn pictures
  std::string kind = "raw";        // of drawn pictures: "raw" or "jpeg"
  uint32_t width = 224;
  uint32_t height = 224;
  size_t images = 1;  // per request
  bool fp16 = false;
  bool bulk = false;
};

// "jpeg 640x480", "12 files".
std::string Describe(const BenchInput& input);

// A few serialised EmbedBatchRequests of `input.images` images each, all different. Errors: INVALID_ARGUMENT
// when a file cannot be read or a request would pass the limits of the server.
absl::StatusOr<std::vector<grpc::ByteBuffer>> MakeRequests(const BenchInput& input,
                                                           const client::ServerInfo& info);

}  // namespace embedd::ctl
