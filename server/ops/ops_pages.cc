// SPDX-License-Identifier: Apache-2.0

#include "server/ops/ops_pages.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

using Json = nlohmann::ordered_json;

Json Batch(const OpsInfo& info, const OpsInfo::Device& device) {
  return {{"cap", device.batch_cap}, {"set_by", device.cap_set_by}, {"max", info.max_batch}};
}

Json Memory(const OpsInfo& info, const OpsInfo::Device& device) {
  return {{"baseline", device.baseline},
          {"allocated", device.allocated},
          {"reserved", device.reserved},
          {"driver", device.driver},
          {"peak", device.peak},
          {"limit", device.limit},
          {"process_footprint", info.process_footprint}};
}

// What is known of texts has the names that GetServerInfo gives it.
Json Model(const OpsInfo& info) {
  Json model = {
      {"name", info.model},          {"architecture", info.architecture}, {"fingerprint", info.fingerprint},
      {"dimension", info.dimension}, {"image_size", info.image_size},     {"towers", info.towers}};
  if (!info.text) return model;
  model["text_context_length"] = info.text->context_length;
  model["text_lowercases"] = info.text->lowercases;
  model["text_fingerprint"] = info.text->fingerprint;
  if (info.text->logit_scale) model["logit_scale"] = *info.text->logit_scale;
  if (info.text->logit_bias) model["logit_bias"] = *info.text->logit_bias;
  model["similarity"] = info.text->similarity;
  return model;
}

// "device", "batch" and "memory" are those of the first device.
std::string InfoJson(const OpsInfo& info) {
  const OpsInfo::Device first = info.devices.empty() ? OpsInfo::Device() : info.devices[0];
  Json devices = Json::array();
  for (const OpsInfo::Device& device : info.devices) {
    devices.push_back({{"device", device.name},
                       {"serving", device.serving},
                       {"batch", Batch(info, device)},
                       {"memory", Memory(info, device)}});
  }
  const Json json = {{"state", info.state},
                     {"serving", info.serving},
                     {"why", info.why},
                     {"version", info.version},
                     {"uptime_seconds", info.uptime_seconds},
                     {"model", Model(info)},
                     {"device", info.device},
                     {"dtype", info.dtype},
                     {"batch", Batch(info, first)},
                     {"queue",
                      {{"images", info.queue_images},
                       {"images_limit", info.queue_images_limit},
                       {"bytes", info.queue_bytes},
                       {"bytes_limit", info.queue_bytes_limit}}},
                     {"memory", Memory(info, first)},
                     {"devices", devices}};
  // Names of models come from files: what is not UTF-8 is replaced.
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

HttpResponse Health(const OpsHealth& health) {
  if (health.serving) return {200, "text/plain; charset=utf-8", "SERVING\n"};
  return {503, "text/plain; charset=utf-8", absl::StrCat(health.state, ": ", health.why, "\n")};
}

}  // namespace

HttpRoutes MakeOpsRoutes(OpsContent content) {
  const auto shared = std::make_shared<const OpsContent>(std::move(content));
  HttpRoutes routes;
  routes["/metrics"] = [shared] {
    return HttpResponse{200, "text/plain; version=0.0.4; charset=utf-8", shared->metrics()};
  };
  routes["/healthz"] = [shared] { return Health(shared->health()); };
  routes["/batches"] = [shared] { return HttpResponse{200, "application/json", shared->batches()}; };
  routes["/info"] = [shared] { return HttpResponse{200, "application/json", InfoJson(shared->info())}; };
  routes["/"] = [] { return HttpResponse{200, "text/html; charset=utf-8", kStatusPage}; };
  return routes;
}

}  // namespace embedd
