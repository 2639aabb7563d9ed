// SPDX-License-Identifier: Apache-2.0
//
// What a client of OpenAI's API gets at the REST door: answers, errors, refusals, and what becomes of a call
// whose client goes away.

#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "httplib.h"
#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

using nlohmann::json;

Config WithRest(Config config = {}) {
  config.rest = "127.0.0.1:0";
  return config;
}

int PortOf(InProcessServer& server) {
  const std::string& address = server.server().rest_address();
  return std::stoi(address.substr(address.rfind(':') + 1));
}

httplib::Client ClientOf(InProcessServer& server) { return httplib::Client("127.0.0.1", PortOf(server)); }

std::string Picture(int value) { return absl::Base64Escape(std::string("px") + static_cast<char>(value)); }
std::string DataUri(int value) { return "data:image/jpeg;base64," + Picture(value); }

struct Answer {
  int status = 0;
  json body;
  httplib::Headers headers;
};
Answer Post(InProcessServer& server, const json& body, const httplib::Headers& headers = {}) {
  httplib::Client client = ClientOf(server);
  const httplib::Result result = client.Post("/v1/embeddings", headers, body.dump(), "application/json");
  REQUIRE(result);
  return {result->status, json::parse(result->body), result->headers};
}

std::string Header(const Answer& answer, const std::string& name) {
  const auto found = answer.headers.find(name);
  return found == answer.headers.end() ? "" : found->second;
}

void CheckRow(const json& data, size_t i, int value) {
  REQUIRE(data.size() > i);
  CHECK((data[i]["index"] == i && data[i]["object"] == "embedding"));
  const std::vector<float> expected = UnitRow(static_cast<uint8_t>(value));
  std::vector<float> row(expected.size());
  if (data[i]["embedding"].is_string()) {
    std::string bytes;
    REQUIRE(absl::Base64Unescape(data[i]["embedding"].get<std::string>(), &bytes));
    REQUIRE(bytes.size() == row.size() * sizeof(float));
    std::memcpy(row.data(), bytes.data(), bytes.size());
  } else {
    row = data[i]["embedding"].get<std::vector<float>>();
  }
  REQUIRE(row.size() == expected.size());
  for (size_t k = 0; k < row.size(); ++k) CHECK(row[k] == Approx(expected[k]).margin(1e-6));
}

std::string Request(const std::string& body, const std::string& more = "") {
  return absl::StrCat("POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(), "\r\n",
                      more, "\r\n", body);
}

TEST_CASE("Pictures come as data URIs or objects, alone or in a list, and as numbers or base64 they go") {
  InProcessServer server(WithRest());
  Answer answer = Post(
      server, {{"model", "fake"}, {"input", {DataUri(1), {{"image", Picture(2)}}, {{"image", DataUri(3)}}}}});
  REQUIRE(answer.status == 200);
  CHECK(Header(answer, "Content-Type") == "application/json");
  CHECK((answer.body["object"] == "list" && answer.body["model"] == "fake" &&
         answer.body["usage"]["total_tokens"] == 0 && answer.body["system_fingerprint"] == "f00d"));
  REQUIRE(answer.body["data"].size() == 3);
  for (int i = 0; i < 3; ++i) CheckRow(answer.body["data"], static_cast<size_t>(i), i + 1);
  CHECK(answer.body["data"][0]["embedding"].is_array());

  answer = Post(server, {{"input", DataUri(4)}, {"encoding_format", "base64"}});
  REQUIRE(answer.status == 200);
  CHECK(answer.body["data"][0]["embedding"].is_string());
  CheckRow(answer.body["data"], 0, 4);
  answer = Post(server, {{"input", {{"image", Picture(5)}}}, {"dimensions", 4}, {"priority", "bulk"}});
  REQUIRE(answer.status == 200);
  CheckRow(answer.body["data"], 0, 5);
  answer = Post(server, {{"input", {Picture(6)}}, {"modality", "image"}});  // as Infinity's clients
  REQUIRE(answer.status == 200);
  CheckRow(answer.body["data"], 0, 6);
  answer = Post(server, {{"input", DataUri(7)}, {"normalize", false}});
  REQUIRE(answer.status == 200);
  CHECK(answer.body["data"][0]["embedding"][0].get<float>() == Approx(FakeExecutor::FakeRow(7, 4)[0]));
  CHECK(server.Metric("embedd_images_total{outcome=\"ok\"}") == 7);
  CHECK(server.Metric("embedd_requests_total{code=\"OK\",method=\"embeddings\"}") == 5);
}

TEST_CASE("Base64 of every kind that clients write is read, and what a client leaves open is null") {
  InProcessServer server(WithRest());
  for (const std::string base64 : {"cHj/", "cHj_", " cH\r\nj/\n"}) {  // "px\xff"
    for (const char* head : {"", "data:image/jpeg;base64,", "data:application/octet-stream;base64,",
                             "data:;base64,", "DATA:Image/PNG;charset=utf-8;BASE64,"}) {
      INFO(absl::StrCat(head, base64));
      const Answer answer = Post(server, {{"input", {{{"image", absl::StrCat(head, base64)}}}}});
      REQUIRE(answer.status == 200);
      CheckRow(answer.body["data"], 0, 0xff);
      if (*head == 0) continue;
      const Answer alone = Post(server, {{"input", absl::StrCat(head, base64)}});  // no text, surely
      REQUIRE(alone.status == 200);
      CheckRow(alone.body["data"], 0, 0xff);
    }
  }
  for (const char* base64 : {"cHj//w==", "cHj//w", "cHj__w==", "cHj__w"}) {  // one byte more
    const Answer answer = Post(server, {{"input", {{{"image", base64}}}}});
    CHECK_THAT(answer.body["error"]["message"].get<std::string>(), ContainsSubstring("not a fake picture"));
  }
  const Answer open = Post(server, {{"input", DataUri(1)},
                                    {"model", nullptr},
                                    {"encoding_format", nullptr},
                                    {"dimensions", nullptr},
                                    {"normalize", nullptr},
                                    {"priority", nullptr},
                                    {"expect_fingerprint", nullptr},
                                    {"user", {{"model", 1}, {"normalize", "no"}}},
                                    {"extra", {1, 2}}});
  REQUIRE(open.status == 200);
  CheckRow(open.body["data"], 0, 1);
}

TEST_CASE("An error names what is wrong in the shape of that API, and nothing is fetched") {
  InProcessServer server(WithRest());
  const std::string https = "https://example.com/a.jpg";
  const std::vector<std::pair<json, std::pair<std::string, std::string>>> cases = {
      {{{"model", "fake"}}, {"input", "is missing"}},
      {{{"input", json::array()}}, {"input", "send at least one"}},
      {{{"input", 3}}, {"input", "send a text"}},
      {{{"input", {DataUri(1), json::array({1, 2})}}}, {"input[1]", "lists of tokens are not read"}},
      {{{"input", {1, 2, 3}}}, {"input[0]", "send a text"}},
      {{{"input", {{{"image", https}}}}}, {"input[0]", "URLs are not fetched"}},
      {{{"input", {DataUri(1), https}}, {"modality", "image"}}, {"input[1]", "URLs are not fetched"}},
      {{{"input", {{{"image", "a b%"}}}}}, {"input[0]", "no base64"}},
      {{{"input", "data:image/png,plain"}}, {"input[0]", "data:image/TYPE;base64,DATA"}},
      {{{"input", {{{"picture", "x"}}}}}, {"input[0]", "neither image nor text"}},
      {{{"input", {{{"image", Picture(1)}, {"text", "a"}}}}}, {"input[0]", "both image and text"}},
      {{{"input", {{{"image", {{"url", https}}}}}}}, {"input[0]", "image must be a string"}},
      {{{"input", DataUri(1)}, {"encoding_format", "hex"}}, {"encoding_format", "must be float or base64"}},
      {{{"input", DataUri(1)}, {"dimensions", 8}}, {"dimensions", "have 4"}},
      {{{"input", {DataUri(1), Picture(2)}}}, {"input[1]", "no text tower is served here"}},
      {{{"input", {DataUri(1), "data:image/png;base64,AAAA"}}}, {"input[1]", "not a fake picture"}},
      {{{"input", DataUri(1)}, {"expect_fingerprint", "beef"}}, {"", "must not be mixed"}},
      // A value of another kind than the key takes is no value that was left out.
      {{{"input", DataUri(1)}, {"normalize", "false"}}, {"normalize", "must be true or false"}},
      {{{"input", DataUri(1)}, {"normalized", 0}}, {"normalized", "must be true or false"}},
      {{{"input", DataUri(1)}, {"dimensions", 4.5}}, {"dimensions", "must be a whole number"}},
      {{{"input", DataUri(1)}, {"dimensions", "4"}}, {"dimensions", "must be a whole number"}},
      {{{"input", DataUri(1)}, {"dimensions", {4}}}, {"dimensions", "must be a whole number"}},
      {{{"input", DataUri(1)}, {"encoding_format", 1}}, {"encoding_format", "must be float or base64"}},
      {{{"input", DataUri(1)}, {"model", {"fake"}}}, {"model", "must be a string"}},
      {{{"input", DataUri(1)}, {"priority", 2}}, {"priority", "must be interactive or bulk"}},
      {{{"input", DataUri(1)}, {"expect_fingerprint", {{"a", "b"}}}},
       {"expect_fingerprint", "must be a string"}},
      {{{"input", DataUri(1)}, {"modality", true}}, {"modality", "must be text or image"}},
      {{{"input", std::vector<std::string>(1025, DataUri(1))}}, {"input", "more than 1024 elements"}},
      {json::array(), {"", "the body must be an object"}},
  };
  for (const auto& [body, expected] : cases) {
    const Answer answer = Post(server, body);
    INFO(body.dump().substr(0, 200));
    CHECK(answer.status == 400);
    const json& error = answer.body["error"];
    CHECK(error["type"] == "invalid_request_error");
    CHECK((error["param"].is_null() ? "" : error["param"].get<std::string>()) == expected.first);
    CHECK_THAT(error["message"].get<std::string>(), ContainsSubstring(expected.second));
  }
  CHECK(Post(server, {{"input", {DataUri(1), "junk"}}}).body["error"]["code"] == "TEXT_NOT_SUPPORTED");
  const Answer other = Post(server, {{"input", DataUri(1)}, {"model", "clip"}});
  CHECK(other.status == 404);
  CHECK((other.body["error"]["code"] == "model_not_found" && other.body["error"]["param"] == "model"));

  httplib::Client client = ClientOf(server);
  const auto broken = client.Post("/v1/embeddings", "{\"input\": \"\xff\"}", "application/json");
  REQUIRE(broken);
  CHECK(broken->status == 400);
  CHECK_THAT(broken->body, ContainsSubstring("the body is no JSON"));
  CHECK(client.Post("/v1/embeddings", std::string(100000, '['), "application/json")->status == 400);
  CHECK(server.Metric("embedd_queue_images") == 0);
  CHECK(server.Metric("embedd_queue_bytes") == 0);
}

TEST_CASE("The model is listed, and other paths and verbs are told so") {
  InProcessServer server(WithRest());
  httplib::Client client = ClientOf(server);
  const json list = json::parse(client.Get("/v1/models")->body);
  CHECK((list["object"] == "list" && list["data"].size() == 1 && list["data"][0]["id"] == "fake" &&
         list["data"][0]["object"] == "model"));
  CHECK(list["data"][0]["created"] > 1'700'000'000);  // seconds of the calendar, not of the machine's uptime
  CHECK(json::parse(client.Get("/v1/models/fake")->body)["id"] == "fake");
  CHECK(json::parse(client.Get("/v1/models/f%61ke")->body)["id"] == "fake");
  CHECK(client.Get("/v1/models/other")->status == 404);
  CHECK(client.Get("/v1/models/%")->status == 404);
  RawClient head(PortOf(server));  // the answer to HEAD has no body, and the next request is answered
  head.Send("HEAD /v1/models HTTP/1.1\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n");
  CHECK_THAT(head.ReadUntil("owned_by"),
             ContainsSubstring("405") && ContainsSubstring("200 OK") && !ContainsSubstring("error"));
  CHECK(client.Get("/v1/embeddings")->status == 405);
  CHECK(client.Get("/metrics")->status == 404);
  CHECK(client.Post("/v1/chat/completions", "{}", "application/json")->status == 404);
}

TEST_CASE("A full queue is 429 with the time to wait, a call that can never fit is not to be tried again") {
  InProcessServer server(WithRest({.queue_images = 2}));
  server.gate().Close();
  Answer waiting;
  std::thread caller([&] { waiting = Post(server, {{"input", {DataUri(1), DataUri(2)}}}); });
  while (server.Metric("embedd_queue_images") < 2) std::this_thread::yield();
  const Answer full = Post(server, {{"input", DataUri(3)}});
  CHECK(full.status == 429);
  CHECK(full.body["error"]["code"] == "QUEUE_FULL");
  CHECK(std::stoi(Header(full, "Retry-After")) >= 1);
  CHECK(std::stoi(Header(full, "retry-after-ms")) >= 1);
  const Answer never = Post(server, {{"input", {DataUri(3), DataUri(3), DataUri(3)}}});
  CHECK(never.status == 429);
  CHECK(Header(never, "x-should-retry") == "false");
  server.gate().Open();
  caller.join();
  CHECK(waiting.status == 200);
  CHECK(server.Metric("embedd_images_total{outcome=\"refused\"}") == 4);

  const Answer late = Post(server, {{"input", DataUri(1)}}, {{"x-stainless-read-timeout", "0.000001"}});
  CHECK(late.status == 504);
  CHECK(late.body["error"]["code"] == "DEADLINE");
}

TEST_CASE("503 while the model loads and while the server drains, when what runs is finished") {
  InProcessServer server(WithRest({.drain_timeout = absl::Seconds(20)}), /*serve=*/false);
  httplib::Client client = ClientOf(server);
  const auto loading = client.Get("/v1/models");
  CHECK(loading->status == 503);
  CHECK(loading->get_header_value("Retry-After") == "1");
  CHECK(Post(server, {{"input", DataUri(1)}}).body["error"]["code"] == "MODEL_LOADING");
  server.Serve();
  server.gate().Close();
  Answer waiting;
  std::thread caller([&] { waiting = Post(server, {{"input", DataUri(1)}}); });
  server.gate().WaitForArrivals(1);
  std::thread drain([&] { CHECK(server.server().Drain()); });
  while (client.Get("/v1/models")->status != 503) std::this_thread::yield();
  CHECK(Post(server, {{"input", DataUri(1)}}).body["error"]["code"] == "DRAINING");
  server.gate().Open();
  drain.join();
  caller.join();
  CHECK(waiting.status == 200);
}

TEST_CASE("A client that goes away takes its images out of the queue") {
  InProcessServer server(WithRest({.max_batch = 1}));
  server.gate().Close();
  Answer first;
  std::thread ahead([&] { first = Post(server, {{"input", DataUri(1)}}); });
  server.gate().WaitForArrivals(1);
  RawClient client(PortOf(server));
  client.Send(Request(json{{"input", {DataUri(2), DataUri(3)}}}.dump()));
  while (server.Metric("embedd_queue_images") < 3) std::this_thread::yield();
  client.Close();
  while (server.Metric("embedd_queue_images") > 1) std::this_thread::yield();
  server.gate().Open();
  ahead.join();
  CHECK(first.status == 200);
  CHECK(server.Metric("embedd_images_total{outcome=\"cancelled\"}") == 2);
  CHECK(server.batches() == std::vector<int>{1});
}

TEST_CASE("The token is asked for before a body is read") {
  const TempFolder folder;
  folder.Write("tokens", "secret\n");
  InProcessServer server(WithRest({.token_file = folder.path() + "/tokens"}));
  const Answer without = Post(server, {{"input", DataUri(1)}});
  CHECK(without.status == 401);
  CHECK((without.body["error"]["code"] == "invalid_api_key" &&
         Header(without, "WWW-Authenticate") == "Bearer"));
  CHECK(Post(server, {{"input", DataUri(1)}}, {{"Authorization", "Bearer secret"}}).status == 200);
  CHECK(Post(server, {{"input", DataUri(1)}}, {{"Authorization", "Bearer secreT"}}).status == 401);
  CHECK(ClientOf(server).Get("/v1/models")->status == 401);
  RawClient client(PortOf(server));
  client.Send("POST /v1/embeddings HTTP/1.1\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
  CHECK_THAT(client.ReadUntil("invalid_api_key"), ContainsSubstring("HTTP/1.1 401"));
}

TEST_CASE("Bodies have a limit and a Content-Length, and connections serve one request after the other") {
  InProcessServer server(WithRest({.max_message_bytes = 1 << 20}));
  const int port = PortOf(server);
  const std::string body = json{{"input", DataUri(1)}}.dump();
  {
    RawClient client(port);  // two at once, and an early word about the second
    client.Send(Request(body) + Request(body, "Expect: 100-continue\r\n"));
    CHECK_THAT(client.ReadUntil("f00d\"}"), ContainsSubstring("HTTP/1.1 200"));
    CHECK_THAT(client.ReadUntil("f00d\"}"), ContainsSubstring("HTTP/1.1 200"));
    client.Send("POST /v1/embeddings HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n");
    CHECK(client.ReadUntil("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
    client.Send(body);
    CHECK_THAT(client.ReadUntil("f00d\"}"), ContainsSubstring("HTTP/1.1 200"));
  }
  const auto first_line = [&](const std::string& request) {
    RawClient client(port);
    client.Send(request);
    return client.ReadUntil("\r\n");
  };
  CHECK_THAT(first_line("POST /v1/embeddings HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n"),
             ContainsSubstring("413"));
  CHECK_THAT(first_line("POST /v1/embeddings HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
             ContainsSubstring("411"));
  CHECK_THAT(first_line(Request(body, "Content-Encoding: gzip\r\n")), ContainsSubstring("415"));
  CHECK_THAT(first_line(Request(body, "Content-Encoding: identity\r\n")), ContainsSubstring("200"));
  CHECK_THAT(first_line("POST /v1/embeddings HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
             ContainsSubstring("400"));
  CHECK_THAT(first_line("POST /v1/embeddings HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
             ContainsSubstring("400"));
  CHECK_THAT(first_line("POST /v1/embeddings HTTP/2.0\r\n\r\n"), ContainsSubstring("505"));
  CHECK_THAT(first_line("\x16\x03\x01 hello\r\n\r\n"), ContainsSubstring("400"));
  CHECK_THAT(first_line("GET / HTTP/1.1\r\nX: " + std::string(20000, 'a')), ContainsSubstring("431"));
  RawClient closing(port);
  closing.Send(Request(body, "Connection: close\r\n"));
  CHECK_THAT(closing.ReadUntil("nothing more comes"),
             ContainsSubstring("Connection: close") && ContainsSubstring("f00d"));
}

TEST_CASE("What is half sent or never read holds nobody up") {
  InProcessServer server(WithRest());
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 300; ++i) {  // more than there are places for
    slow.push_back(std::make_unique<RawClient>(PortOf(server)));
    slow.back()->Send(i % 2 == 0 ? "POST /v1/emb"
                                 : "POST /v1/embeddings HTTP/1.1\r\nContent-Length: 50\r\n\r\n{");
    if (i == 100) CHECK(Post(server, {{"input", DataUri(1)}}).status == 200);
  }
  CHECK(Post(server, {{"input", DataUri(1)}}).status == 200);
}

}  // namespace
}  // namespace embedd
