// SPDX-License-Identifier: Apache-2.0
//
// What the HTTP server shows: /metrics, /healthz, /batches, /info and the status page /. Used by main only.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/ops/http_message.h"

namespace embedd {

// What the status page and /info tell besides the batches. Bytes, unless the name says otherwise.
struct OpsInfo {
  std::string state;     // as StateName
  bool serving = false;  // as StateBoard::serving
  std::string why;       // as StateBoard::why
  std::string version;
  double uptime_seconds = 0;
  std::string model, architecture, fingerprint, device, dtype;
  int dimension = 0, image_size = 0;
  std::vector<std::string> towers;
  struct Text {
    int context_length = 0;
    bool lowercases = false;
    std::string fingerprint;
    std::optional<double> logit_scale, logit_bias;
    std::string similarity;
  };
  std::optional<Text> text;  // of a model that embeds texts
  int64_t max_batch = 0;
  int64_t queue_images = 0, queue_images_limit = 0, queue_bytes = 0, queue_bytes_limit = 0;
  int64_t process_footprint = 0;
  struct Device {
    std::string name;
    bool serving = false;
    int64_t batch_cap = 0;
    std::string cap_set_by;
    int64_t baseline = 0, allocated = 0, reserved = 0, driver = 0, peak = 0, limit = 0;
  };
  std::vector<Device> devices;  // none while the model is read
};

// What /healthz tells: asked every few seconds by balancers, so nothing else is read for it.
struct OpsHealth {
  std::string state;  // as StateName
  bool serving = false;
  std::string why;  // as StateBoard::why
};

struct OpsContent {
  std::function<std::string()> metrics;  // Prometheus text
  std::function<std::string()> batches;  // JSON list of the last batches, with the keys of the contract
  std::function<OpsInfo()> info;
  std::function<OpsHealth()> health;
};

// `content` is called on the thread of the HTTP server.
HttpRoutes MakeOpsRoutes(OpsContent content);

// The page itself, made from status_page.html by the build.
extern const char kStatusPage[];

}  // namespace embedd
