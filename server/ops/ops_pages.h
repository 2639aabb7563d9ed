// SPDX-License-Identifier: Apache-2.0
//
// The door for people, Prometheus and balancers: /metrics, /healthz, /batches, /info and the status page /,
// each answered at once on the thread of its own HttpServer. Used by EmbeddServer only.

#pragma once

#include <functional>
#include <map>
#include <string>

#include "server/http/http_server.h"
#include "server/model/model_spec.h"
#include "server/telemetry/server_facts.h"

namespace embedd {

// Path, for example "/metrics", to what makes its answer. Must not block.
using HttpRoutes = std::map<std::string, std::function<HttpResponse()>>;

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

// What a request gets: the answer of its route; 404 or 405 where there is none; 500 when it threw.
HttpResponse AnswerPage(const HttpHead& head, const HttpRoutes& routes);

// A server of `routes`: one request a connection, so that few places are enough for everybody.
HttpServer::Options ServePages(std::string address, HttpRoutes routes);

// The page itself, made from status_page.html by the build.
extern const char kStatusPage[];

}  // namespace embedd
