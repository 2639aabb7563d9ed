// SPDX-License-Identifier: Apache-2.0
//
// ServerFacts: what the server tells of itself at one moment, in plain data. FactsReader reads it; Metrics
// tells it as gauges, ops/ as the JSON of /info, rpc/ as the message of GetServerInfo. What there is to tell
// of the model is in ModelSpec.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/telemetry/server_state.h"

namespace embedd {

struct Versions {
  std::string server, libtorch, grpc;
  std::string libvips = "none";  // each format has a decoder of its own; the field is older than they are
};

struct ServerFacts {
  ServerState state = ServerState::kLoading;
  bool serving = false;  // this and `why` as of StateBoard
  std::string why;
  double uptime_seconds = 0;
  int64_t process_footprint = 0;  // bytes, as of LastProcessFootprintBytes
  Versions versions;

  struct Queue {
    int64_t images = 0, images_limit = 0;  // inputs that hold a place, whatever their kind
    int64_t bytes = 0, bytes_limit = 0;  // of the inputs, without answer_bytes, which count against the limit
    int64_t answer_bytes = 0;            // held for answers, until the system has taken them
    int64_t stream_waiting_bytes = 0;    // of messages that wait for a place; not part of `bytes`
    int64_t interactive_images = 0, bulk_images = 0;  // prepared, and waiting for a device
  };
  Queue queue;

  struct Device {
    std::string name;          // "cpu", "cuda:1"
    bool serving = false;      // false before its start, and once it is lost
    std::vector<int> buckets;  // sizes of its batches, ascending
    int cap = 0;               // inputs of the largest batch it forms now
    std::string cap_set_by;    // as of CapController
    // Bytes, as of MemoryBoard.
    int64_t baseline = 0, allocated = 0, reserved = 0, driver = 0, peak = 0, limit = 0;
  };
  std::vector<Device> devices;  // none while the model is read
  int64_t max_batch = 0;        // what --max-batch allows each of them
};

}  // namespace embedd
