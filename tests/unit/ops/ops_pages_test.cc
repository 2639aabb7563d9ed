// SPDX-License-Identifier: Apache-2.0

#include "server/ops/ops_pages.h"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

HttpRoutes RoutesFor(const ServerFacts& facts, const ModelSpec* model) {
  return MakeOpsRoutes({.metrics = [] { return std::string("embedd_x 1\n"); },
                        .batches = [] { return std::string("[]"); },
                        .facts = [facts] { return facts; },
                        .model = [model] { return model; }});
}

nlohmann::json Info(const ServerFacts& facts, const ModelSpec* model) {
  return nlohmann::json::parse(RoutesFor(facts, model).at("/info")().body);
}

TEST_CASE("Health is 200 SERVING, or 503 with the state and why") {
  StateBoard state;
  const HttpRoutes routes =
      MakeOpsRoutes({.facts = []() -> ServerFacts { throw std::runtime_error("/healthz needs none of it"); },
                     .state = &state});
  state.Set(ServerState::kReady);
  HttpResponse answer = routes.at("/healthz")();
  CHECK(answer.status == 200);
  CHECK(answer.body == "SERVING\n");
  state.StopAdvertising();
  answer = routes.at("/healthz")();
  CHECK(answer.status == 503);
  CHECK(answer.body == "READY: the server is about to shut down; calls are still answered\n");
}

TEST_CASE("Metrics and batches are passed on with their types") {
  const HttpRoutes routes = RoutesFor({}, nullptr);
  CHECK(routes.at("/metrics")().body == "embedd_x 1\n");
  CHECK(routes.at("/metrics")().content_type.rfind("text/plain; version=0.0.4", 0) == 0);
  CHECK(routes.at("/batches")().body == "[]");
  CHECK(routes.at("/batches")().content_type == "application/json");
}

TEST_CASE("Info is JSON, also when a name is not UTF-8") {
  ModelSpec model;
  model.name = "bad \xFF name";
  const ServerFacts facts{
      .queue = {.bytes = 100, .answer_bytes = 20},
      .devices = {{.name = "cuda:0", .cap = 32, .cap_set_by = "latency", .peak = (int64_t{1} << 40) + 1},
                  {.name = "cuda:1", .cap = 16}}};
  const nlohmann::json json = Info(facts, &model);
  CHECK(json.at("model").at("name") == "bad \xEF\xBF\xBD name");
  CHECK(json.at("dtype") == "f32");
  CHECK(json.at("queue").at("bytes") == 120);
  CHECK(json.at("batch").at("cap") == 32);
  CHECK(json.at("batch").at("set_by") == "latency");
  CHECK(json.at("memory").at("peak") == (int64_t{1} << 40) + 1);
  REQUIRE(json.at("devices").size() == 2);
  CHECK(json.at("devices")[1].at("device") == "cuda:1");
  CHECK(json.at("devices")[1].at("batch").at("cap") == 16);
}

TEST_CASE("While the model is read, info has its keys, and nothing in them") {
  const nlohmann::json json = Info({.max_batch = 64}, nullptr);
  CHECK(json.at("state") == "LOADING");
  CHECK(json.at("model").at("name") == "");
  CHECK(json.at("model").at("image_size") == 0);
  CHECK(json.at("dtype") == "");
  CHECK(json.at("batch").at("max") == 64);
  CHECK(json.at("devices").empty());
}

TEST_CASE("Info tells what GetServerInfo tells of texts, of a model that embeds them") {
  ModelSpec spec;
  spec.towers = {"image"};
  nlohmann::json model = Info({}, &spec).at("model");
  CHECK(model.at("towers") == nlohmann::json::array({"image"}));
  CHECK_FALSE(model.contains("text_context_length"));
  spec.towers = {"image", "text"};
  spec.text = ModelSpec::Text{.context_length = 64, .lowercases = true, .fingerprint = "f00d"};
  spec.logit_scale = 112.5;
  spec.logit_bias = -16.5;
  spec.similarity = "sigmoid";
  model = Info({}, &spec).at("model");
  CHECK(model.at("towers") == nlohmann::json::array({"image", "text"}));
  CHECK(model.at("text_context_length") == 64);
  CHECK(model.at("text_lowercases") == true);
  CHECK(model.at("text_fingerprint") == "f00d");
  CHECK(model.at("logit_scale") == 112.5);
  CHECK(model.at("logit_bias") == -16.5);
  CHECK(model.at("similarity") == "sigmoid");
  spec.logit_bias.reset();
  CHECK_FALSE(Info({}, &spec).at("model").contains("logit_bias"));
}

TEST_CASE("The status page is whole and loads nothing from elsewhere") {
  const std::string page = RoutesFor({}, nullptr).at("/")().body;
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
