// SPDX-License-Identifier: Apache-2.0
//
// Puts load on a server and takes down what came back. One thread: answers are events of a completion queue,
// requests are bytes made beforehand, so that the machine's time goes to the server.
//
// Closed loop: `callers` calls are in flight at all times, each followed by the next; a caller that was
// refused first waits as long as the server asked. Open loop: calls start at times drawn beforehand (Poisson,
// `rate` a second) whatever the server does; latency counts from the time a call was due, so a server that
// stalls cannot hide it by slowing the load down.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/support/byte_buffer.h"

namespace embedd::ctl {

struct LoadOptions {
  int callers = 16;
  double rate = 0;  // calls a second; 0: closed loop
  absl::Duration warmup = absl::Seconds(2);
  absl::Duration duration = absl::Seconds(10);
  absl::Duration timeout = absl::Seconds(60);
  std::string token;
};

// Counted over calls that were due after the warm-up; all are waited for.
struct LoadResult {
  std::vector<double> latencies_ms;  // of OK calls, ascending
  uint64_t calls = 0;
  uint64_t failed_inputs = 0;              // inputs that failed inside OK calls
  uint64_t images_in_time = 0;             // answered between warm-up and end, for the throughput
  std::map<std::string, uint64_t> errors;  // failed calls, by gRPC code
  uint64_t refused_without_pushback = 0;   // RESOURCE_EXHAUSTED that did not say when to come back
  uint64_t not_sent = 0;                   // open loop: too many were outstanding already
  double queue_ms = 0, execute_ms = 0, decode_ms = 0;  // means of the server's timing over OK calls
  uint32_t largest_batch = 0;
};

// `requests`: serialised EmbedBatchRequests, sent in turn; at least one. `channels`: at least one, used in
// turn.
LoadResult PutLoad(const LoadOptions& options, std::span<const grpc::ByteBuffer> requests,
                   std::span<const std::shared_ptr<grpc::Channel>> channels);

// The value below which a share `q` (0 to 1) of `ascending` lies, by the nearest rank; 0 when it is empty.
double Percentile(std::span<const double> ascending, double q);

}  // namespace embedd::ctl
