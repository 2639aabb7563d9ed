// SPDX-License-Identifier: Apache-2.0

#include "server/ops/ops_pages.h"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "server/support/log.h"
#include "tests/support/catch.h"
#include "tests/support/raw_client.h"

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

// What the server of these pages sends for `request` before it closes.
std::string Answer(const std::string& request) {
  HttpRoutes routes;
  routes["/"] = [] { return HttpResponse{200, "text/html", "home"}; };
  routes["/down"] = [] { return HttpResponse{503, "text/plain", "LOADING\n"}; };
  routes["/throws"] = []() -> HttpResponse { throw std::runtime_error("secret detail"); };
  const auto server = HttpServer::Start(ServePages("127.0.0.1:0", std::move(routes))).value();
  RawClient client(server->port());
  client.Send(request);
  const std::string answer = client.ReadAll();
  CHECK(client.closed());
  REQUIRE(answer.rfind("HTTP/1.1 ", 0) == 0);
  return answer;
}

std::string StatusOf(const std::string& request) { return Answer(request).substr(9, 3); }

TEST_CASE("GET and HEAD of a known path are answered, with the length and without caching") {
  const std::string answer = Answer("GET /?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(answer.rfind("HTTP/1.1 200 OK\r\n", 0) == 0);
  for (const char* header : {"Content-Type: text/html\r\n", "Content-Length: 4\r\n", "Connection: close\r\n",
                             "Cache-Control: no-store\r\n", "X-Content-Type-Options: nosniff\r\n"}) {
    CHECK(answer.find(header) != std::string::npos);
  }
  CHECK(answer.substr(answer.size() - 8) == "\r\n\r\nhome");
  const std::string head = Answer("HEAD / HTTP/1.0\r\n\r\n");
  CHECK(head.find("Content-Length: 4\r\n") != std::string::npos);
  CHECK(head.substr(head.size() - 4) == "\r\n\r\n");
  CHECK(StatusOf("GET /down HTTP/1.1\r\n\r\n") == "503");
  CHECK(StatusOf("GET / HTTP/1.1\n\n") == "200");
}

TEST_CASE("Everything else is refused") {
  CHECK(StatusOf("GET /nothing HTTP/1.1\r\n\r\n") == "404");
  CHECK(StatusOf("GET /../etc/passwd HTTP/1.1\r\n\r\n") == "404");
  const std::string post = Answer("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  CHECK(post.rfind("HTTP/1.1 405", 0) == 0);
  CHECK(post.find("Allow: GET, HEAD\r\n") != std::string::npos);
  CHECK(post.find("X-Frame-Options: DENY\r\n") != std::string::npos);
  CHECK(StatusOf("get / HTTP/1.1\r\n\r\n") == "405");
  for (const char* head :
       {"\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n",
        "GET http://host/ HTTP/1.1\r\n\r\n", "\x16\x03\x01\n\n", "GET * HTTP/1.1\r\n\r\n"}) {
    INFO(head);
    const std::string refused = Answer(head);
    CHECK(refused.substr(9, 3) == "400");
    CHECK(refused.find("X-Frame-Options: DENY\r\n") != std::string::npos);
  }
}

TEST_CASE("A page that throws is an internal error, and says nothing about it") {
  ConfigureLogging("error", "json");
  const std::string answer = Answer("GET /throws HTTP/1.1\r\n\r\n");
  ConfigureLogging("info", "text");
  CHECK(answer.rfind("HTTP/1.1 500 ", 0) == 0);
  CHECK(answer.find("secret") == std::string::npos);
}

}  // namespace
}  // namespace embedd
