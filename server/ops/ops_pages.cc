// SPDX-License-Identifier: Apache-2.0

#include "server/ops/ops_pages.h"

#include <exception>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/support/log.h"

namespace embedd {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kText[] = "text/plain; charset=utf-8";
// Everything on the status page is inline and comes from here, so nothing else may load or run on it.
constexpr std::pair<const char*, const char*> kSecurityHeaders[] = {
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Content-Security-Policy",
     "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
     "img-src data:"}};

Json Batch(const ServerFacts& facts, const ServerFacts::Device& device) {
  return {{"cap", device.cap}, {"set_by", device.cap_set_by}, {"max", facts.max_batch}};
}

Json Memory(const ServerFacts& facts, const ServerFacts::Device& device) {
  return {{"baseline", device.baseline},
          {"allocated", device.allocated},
          {"reserved", device.reserved},
          {"driver", device.driver},
          {"peak", device.peak},
          {"limit", device.limit},
          {"process_footprint", facts.process_footprint}};
}

Json Queue(const ServerFacts::Queue& queue) {
  return {{"images", queue.images},
          {"images_limit", queue.images_limit},
          {"bytes", queue.bytes + queue.answer_bytes},  // both count against the limit
          {"bytes_limit", queue.bytes_limit}};
}

// What is known of texts has the names that GetServerInfo gives it.
Json Model(const ModelSpec& spec) {
  Json model = {
      {"name", spec.name},           {"architecture", spec.architecture}, {"fingerprint", spec.fingerprint},
      {"dimension", spec.dimension}, {"image_size", spec.image.height},   {"towers", spec.towers}};
  if (!spec.text) return model;
  model["text_context_length"] = spec.text->context_length;
  model["text_lowercases"] = spec.text->lowercases;
  model["text_fingerprint"] = spec.text->fingerprint;
  if (spec.logit_scale) model["logit_scale"] = *spec.logit_scale;
  if (spec.logit_bias) model["logit_bias"] = *spec.logit_bias;
  model["similarity"] = spec.similarity;
  return model;
}

// While the model is read its keys are there, and empty. "batch" and "memory" are those of the first device.
std::string InfoJson(const ServerFacts& facts, const ModelSpec* model) {
  ModelSpec none;
  none.image.height = 0;
  const ModelSpec& spec = model != nullptr ? *model : none;
  const ServerFacts::Device first = facts.devices.empty() ? ServerFacts::Device() : facts.devices[0];
  Json devices = Json::array();
  for (const ServerFacts::Device& device : facts.devices) {
    devices.push_back({{"device", device.name},
                       {"serving", device.serving},
                       {"batch", Batch(facts, device)},
                       {"memory", Memory(facts, device)}});
  }
  const Json json = {{"state", std::string(StateName(facts.state))},
                     {"serving", facts.serving},
                     {"why", facts.why},
                     {"version", facts.versions.server},
                     {"uptime_seconds", facts.uptime_seconds},
                     {"model", Model(spec)},
                     {"device", spec.device},
                     {"dtype", model != nullptr ? std::string(DtypeWord(spec.dtype)) : ""},
                     {"batch", Batch(facts, first)},
                     {"queue", Queue(facts.queue)},
                     {"memory", Memory(facts, first)},
                     {"devices", devices}};
  // Names of models come from files: what is not UTF-8 is replaced.
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

HttpResponse Health(const StateBoard& state) {
  if (state.serving()) return {200, kText, "SERVING\n"};
  return {503, kText, absl::StrCat(std::string(StateName(state.state())), ": ", state.why(), "\n")};
}

HttpResponse Call(const std::function<HttpResponse()>& route) {
  try {
    return route();
  } catch (const std::exception& error) {
    LogError("a page of the HTTP server failed", {{"error", error.what()}});
  } catch (...) {
    LogError("a page of the HTTP server failed");
  }
  return {500, kText, "internal error\n"};
}

HttpResponse Secured(HttpResponse response) {
  response.headers.insert(response.headers.end(), std::begin(kSecurityHeaders), std::end(kSecurityHeaders));
  return response;
}

}  // namespace

HttpRoutes MakeOpsRoutes(OpsContent content) {
  const auto shared = std::make_shared<const OpsContent>(std::move(content));
  HttpRoutes routes;
  routes["/metrics"] = [shared] {
    return HttpResponse{200, "text/plain; version=0.0.4; charset=utf-8", shared->metrics()};
  };
  routes["/healthz"] = [shared] { return Health(*shared->state); };
  routes["/batches"] = [shared] { return HttpResponse{200, "application/json", shared->batches()}; };
  routes["/info"] = [shared] {
    return HttpResponse{200, "application/json", InfoJson(shared->facts(), shared->model())};
  };
  routes["/"] = [] { return HttpResponse{200, "text/html; charset=utf-8", kStatusPage}; };
  return routes;
}

HttpResponse AnswerPage(const HttpHead& head, const HttpRoutes& routes) {
  if (head.method != "GET" && head.method != "HEAD")
    return Secured({405, kText, "use GET\n", {{"Allow", "GET, HEAD"}}});
  const auto route = routes.find(head.path);
  return Secured(route == routes.end() ? HttpResponse{404, kText, "there is no such page\n"}
                                       : Call(route->second));
}

HttpServer::Options ServePages(std::string address, HttpRoutes routes) {
  HttpServer::Options options{.name = "http", .address = std::move(address)};
  options.admit = [routes = std::move(routes)](const HttpHead& head, std::shared_ptr<void>*) {
    return AnswerPage(head, routes);
  };
  options.error = [](const HttpProblem& problem) {
    return Secured({problem.status, kText, absl::StrCat(problem.text, "\n")});
  };
  options.max_connections = 32;
  options.idle_time = absl::ZeroDuration();
  options.transfer_time = absl::Seconds(10);
  return options;
}

}  // namespace embedd
