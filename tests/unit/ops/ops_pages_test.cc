// SPDX-License-Identifier: Apache-2.0

#include "server/ops/ops_pages.h"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

HttpRoutes RoutesFor(const OpsInfo& info) {
  OpsContent content;
  content.metrics = [] { return std::string("embedd_x 1\n"); };
  content.batches = [] { return std::string("[]"); };
  content.info = [info] { return info; };
  return MakeOpsRoutes(content);
}

TEST_CASE("Health is 200 SERVING, or 503 with the state and why") {
  OpsHealth health{.state = "READY", .serving = true};
  OpsContent content;
  content.info = []() -> OpsInfo { throw std::runtime_error("/healthz needs none of it"); };
  content.health = [&] { return health; };
  const HttpRoutes routes = MakeOpsRoutes(content);
  HttpResponse answer = routes.at("/healthz")();
  CHECK(answer.status == 200);
  CHECK(answer.body == "SERVING\n");
  health = {.state = "READY", .serving = false, .why = "the server is about to shut down"};
  answer = routes.at("/healthz")();
  CHECK(answer.status == 503);
  CHECK(answer.body == "READY: the server is about to shut down\n");
}

TEST_CASE("Metrics and batches are passed on with their types") {
  const HttpRoutes routes = RoutesFor(OpsInfo());
  CHECK(routes.at("/metrics")().body == "embedd_x 1\n");
  CHECK(routes.at("/metrics")().content_type.rfind("text/plain; version=0.0.4", 0) == 0);
  CHECK(routes.at("/batches")().body == "[]");
  CHECK(routes.at("/batches")().content_type == "application/json");
}

TEST_CASE("Info is JSON, also when a name is not UTF-8") {
  OpsInfo info;
  info.model = "bad \xFF name";
  info.devices = {
      {.name = "cuda:0", .batch_cap = 32, .cap_set_by = "latency", .peak = (int64_t{1} << 40) + 1},
      {.name = "cuda:1", .batch_cap = 16}};
  const nlohmann::json json = nlohmann::json::parse(RoutesFor(info).at("/info")().body);
  CHECK(json.at("model").at("name") == "bad \xEF\xBF\xBD name");
  CHECK(json.at("batch").at("cap") == 32);
  CHECK(json.at("batch").at("set_by") == "latency");
  CHECK(json.at("memory").at("peak") == (int64_t{1} << 40) + 1);
  REQUIRE(json.at("devices").size() == 2);
  CHECK(json.at("devices")[1].at("device") == "cuda:1");
  CHECK(json.at("devices")[1].at("batch").at("cap") == 16);
}

TEST_CASE("Info tells what GetServerInfo tells of texts, of a model that embeds them") {
  OpsInfo info;
  info.towers = {"image"};
  nlohmann::json model = nlohmann::json::parse(RoutesFor(info).at("/info")().body).at("model");
  CHECK(model.at("towers") == nlohmann::json::array({"image"}));
  CHECK_FALSE(model.contains("text_context_length"));
  info.towers = {"image", "text"};
  info.text = {.context_length = 64,
               .lowercases = true,
               .fingerprint = "f00d",
               .logit_scale = 112.5,
               .logit_bias = -16.5,
               .similarity = "sigmoid"};
  model = nlohmann::json::parse(RoutesFor(info).at("/info")().body).at("model");
  CHECK(model.at("towers") == nlohmann::json::array({"image", "text"}));
  CHECK(model.at("text_context_length") == 64);
  CHECK(model.at("text_lowercases") == true);
  CHECK(model.at("text_fingerprint") == "f00d");
  CHECK(model.at("logit_scale") == 112.5);
  CHECK(model.at("logit_bias") == -16.5);
  CHECK(model.at("similarity") == "sigmoid");
  info.text->logit_bias.reset();
  model = nlohmann::json::parse(RoutesFor(info).at("/info")().body).at("model");
  CHECK_FALSE(model.contains("logit_bias"));
}

TEST_CASE("The status page is whole and loads nothing from elsewhere") {
  const std::string page = RoutesFor(OpsInfo()).at("/")().body;
  CHECK(page.rfind("<!doctype html>", 0) == 0);
  CHECK(page.find("</html>") != std::string::npos);
  for (const char* outside : {"http://", "https://", "src=", "@import", "url("}) {
    INFO(outside);
    CHECK(page.find(outside) == std::string::npos);
  }
  // It reads what /info and /batches give.
  for (const char* key :
       {"uptime_seconds", "set_by", "images_limit", "process_footprint", "execute_ns", "released"}) {
    INFO(key);
    CHECK(page.find(key) != std::string::npos);
  }
}

}  // namespace
}  // namespace embedd
