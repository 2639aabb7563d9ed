// SPDX-License-Identifier: Apache-2.0

#include "server/ops/ops_pages.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

std::string InfoJson(const OpsInfo& info) {
  const nlohmann::ordered_json json = {
      {"state", info.state},
      {"serving", info.serving},
      {"why", info.why},
      {"version", info.version},
      {"uptime_seconds", info.uptime_seconds},
      {"model",
       {{"name", info.model},
        {"architecture", info.architecture},
        {"fingerprint", info.fingerprint},
        {"dimension", info.dimension},
        {"image_size", info.image_size}}},
      {"device", info.device},
      {"dtype", info.dtype},
      {"batch", {{"cap", info.batch_cap}, {"set_by", info.cap_set_by}, {"max", info.max_batch}}},
      {"queue",
       {{"images", info.queue_images},
        {"images_limit", info.queue_images_limit},
        {"bytes", info.queue_bytes},
        {"bytes_limit", info.queue_bytes_limit}}},
      {"memory",
       {{"baseline", info.baseline},
        {"allocated", info.allocated},
        {"reserved", info.reserved},
        {"driver", info.driver},
        {"peak", info.peak},
        {"limit", info.limit},
        {"process_footprint", info.process_footprint}}}};
  // Names of models come from files: what is not UTF-8 is replaced.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
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
