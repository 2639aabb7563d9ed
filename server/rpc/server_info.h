// SPDX-License-Identifier: Apache-2.0
//
// What GetServerInfo tells, and how it is written into its message.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "embedd/v1/embedding_service.pb.h"
#include "server/rpc/road.h"

namespace embedd {

// The part that the rpc stage cannot know by itself. Asked at each call.
struct ServerFacts {
  struct Device {
    std::string device;
    bool serving = false;
    std::vector<int> buckets;
    int cap = 0;
    std::string cap_set_by;
    int64_t baseline = 0, allocated = 0, reserved = 0, driver = 0, peak = 0, limit = 0;
  };
  std::vector<Device> devices;  // none while the model is read
  int64_t process_footprint = 0;
  std::string version, libtorch, libvips, grpc;
  double uptime_seconds = 0;
};
using FactsSource = std::function<ServerFacts()>;

void FillServerInfo(const Road& road, const ServerFacts& facts, v1::GetServerInfoResponse* info);

}  // namespace embedd
