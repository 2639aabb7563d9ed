// SPDX-License-Identifier: Apache-2.0
//
// What the HTTP server shows: /metrics, /healthz, /batches, /info and the status page /. Used by EmbeddServer
// only.

#pragma once

#include <functional>
#include <string>

#include "server/model/model_spec.h"
#include "server/ops/http_message.h"
#include "server/telemetry/server_facts.h"

namespace embedd {

struct OpsContent {
  std::function<std::string()> metrics;  // Prometheus text
  std::function<std::string()> batches;  // JSON list of the last batches, with the keys of the contract
  std::function<ServerFacts()> facts;
  std::function<const ModelSpec*()> model;  // null while it is read
  // For /healthz, which balancers ask every few seconds: nothing else is read for it.
  const StateBoard* state = nullptr;
};

// `content` is called on the thread of the HTTP server.
HttpRoutes MakeOpsRoutes(OpsContent content);

// The page itself, made from status_page.html by the build.
extern const char kStatusPage[];

}  // namespace embedd
