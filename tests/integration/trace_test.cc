// SPDX-License-Identifier: Apache-2.0
//
// The caller's trace in batch records, and spans at a collector.

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "httplib.h"
#include "nlohmann/json.hpp"
#include "server/support/mutex.h"
#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"

namespace embedd {
namespace {

constexpr char kTrace[] = "0af7651916cd43dd8448eb211c80319c";
constexpr char kParent[] = "b7ad6b7169203331";

std::string TraceParent(const char* flags) { return absl::StrCat("00-", kTrace, "-", kParent, "-", flags); }

// Takes spans as an OpenTelemetry collector does.
class Collector {
 public:
  Collector() {
    server_.Post("/v1/traces", [this](const httplib::Request& request, httplib::Response& response) {
      CHECK(request.get_header_value("Content-Type") == "application/json");
      MutexLock lock(&mu_);
      response.status = status_;
      if (status_ == 200) {
        const nlohmann::json body = nlohmann::json::parse(request.body);
        for (const auto& resource : body.at("resourceSpans"))
          for (const auto& scope : resource.at("scopeSpans"))
            for (const auto& span : scope.at("spans")) spans_.push_back(span);
      }
      response.set_content("{}", "application/json");
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
  }
  ~Collector() {
    server_.stop();
    thread_.join();
  }

  std::string url() const { return absl::StrCat("http://127.0.0.1:", port_); }
  void Refuse() {
    MutexLock lock(&mu_);
    status_ = 503;
  }
  std::vector<nlohmann::json> spans() {
    MutexLock lock(&mu_);
    return spans_;
  }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
  Mutex mu_;
  int status_ ABSL_GUARDED_BY(mu_) = 200;
  std::vector<nlohmann::json> spans_ ABSL_GUARDED_BY(mu_);
};

Config WithCollector(const std::string& url) {
  Config config;
  config.otlp_endpoint = url;
  return config;
}

grpc::Status Embed(InProcessServer& server, const std::string& traceparent, int inputs = 1) {
  grpc::ClientContext context;
  if (!traceparent.empty()) context.AddMetadata("traceparent", traceparent);
  v1::EmbedBatchRequest request;
  for (int i = 0; i < inputs; ++i) *request.add_inputs() = RawInput(static_cast<uint8_t>(i));
  v1::EmbedBatchResponse response;
  return server.stub().EmbedBatch(&context, request, &response);
}

std::string Attribute(const nlohmann::json& span, const std::string& key) {
  for (const auto& one : span.at("attributes"))
    if (one.at("key") == key) return one.at("value").begin().value();
  return "";
}

TEST_CASE("A sampled call becomes a span under its caller's, with its stages as children") {
  Collector collector;
  const absl::Time before = absl::Now();
  {
    InProcessServer server(WithCollector(collector.url()));
    REQUIRE(Embed(server, TraceParent("01"), 3).ok());
    server.server().Drain();  // sends what is left
    CHECK(server.Metric("embedd_spans_total{outcome=\"sent\"}") == 1);
  }
  std::map<std::string, nlohmann::json> by_name;
  for (const auto& span : collector.spans()) by_name[span.at("name")] = span;
  REQUIRE(by_name.count("embedd.v1.EmbeddingService/EmbedBatch") == 1);
  const nlohmann::json& call = by_name["embedd.v1.EmbeddingService/EmbedBatch"];
  CHECK(call.at("traceId") == kTrace);
  CHECK(call.at("parentSpanId") == kParent);
  CHECK(call.at("kind") == 2);
  CHECK_FALSE(call.contains("status"));
  CHECK(Attribute(call, "rpc.method") == "EmbedBatch");
  CHECK(Attribute(call, "rpc.grpc.status_code") == "0");
  CHECK(Attribute(call, "embedd.inputs") == "3");
  const auto nanos = [](const nlohmann::json& span, const char* key) {
    return std::stoll(span.at(key).get<std::string>());
  };
  CHECK(nanos(call, "startTimeUnixNano") >= absl::ToUnixNanos(before));
  CHECK(by_name.count("queue") + by_name.count("execute") >= 1);
  for (const auto& [name, span] : by_name) {
    if (span == call) continue;
    CHECK(span.at("traceId") == kTrace);
    CHECK(span.at("parentSpanId") == call.at("spanId"));
    CHECK(span.at("spanId") != call.at("spanId"));
    CHECK(nanos(span, "startTimeUnixNano") >= nanos(call, "startTimeUnixNano"));
    CHECK(nanos(span, "endTimeUnixNano") <= nanos(call, "endTimeUnixNano"));
  }
}

TEST_CASE("Calls that are not sampled, or have no right traceparent, leave no span") {
  Collector collector;
  InProcessServer server(WithCollector(collector.url()));
  for (const std::string& header : {TraceParent("00"), std::string("00-nonsense"), std::string()})
    REQUIRE(Embed(server, header).ok());
  server.server().Drain();
  CHECK(collector.spans().empty());
}

TEST_CASE("A call that fails is a span too, and its stream as well") {
  Collector collector;
  InProcessServer server(WithCollector(collector.url()));
  CHECK_FALSE(Embed(server, TraceParent("01"), 0).ok());
  {
    grpc::ClientContext context;
    context.AddMetadata("traceparent", TraceParent("01"));
    const auto stream = server.stub().EmbedStream(&context);
    v1::EmbedStreamRequest request;
    *request.mutable_input() = RawInput(1);
    for (int i = 0; i < 4; ++i) REQUIRE(stream->Write(request));
    stream->WritesDone();
    v1::EmbedStreamResponse response;
    while (stream->Read(&response)) continue;
    REQUIRE(stream->Finish().ok());
  }
  server.server().Drain();
  std::map<std::string, std::string> code, inputs;
  for (const auto& span : collector.spans()) {
    if (span.at("kind") != 2) continue;
    code[Attribute(span, "rpc.method")] = Attribute(span, "rpc.grpc.status_code");
    inputs[Attribute(span, "rpc.method")] = Attribute(span, "embedd.inputs");
  }
  CHECK(code == std::map<std::string, std::string>{{"EmbedBatch", "3"}, {"EmbedStream", "0"}});
  CHECK(inputs["EmbedStream"] == "4");
}

TEST_CASE("A call of the REST door is traced as well") {
  Collector collector;
  Config config = WithCollector(collector.url());
  config.rest = "127.0.0.1:0";
  InProcessServer server(config);
  const std::string& address = server.server().rest_address();
  httplib::Client client("127.0.0.1", std::stoi(address.substr(address.rfind(':') + 1)));
  const nlohmann::json body = {{"input", "data:image/jpeg;base64,cHgq"}};  // "px*"
  const httplib::Result answer =
      client.Post("/v1/embeddings", {{"Traceparent", TraceParent("01")}}, body.dump(), "application/json");
  REQUIRE(answer);
  server.server().Drain();
  const std::vector<nlohmann::json> spans = collector.spans();
  REQUIRE_FALSE(spans.empty());
  CHECK(spans[0].at("name") == "POST /v1/embeddings");
  CHECK(spans[0].at("traceId") == kTrace);
  CHECK(Attribute(spans[0], "embedd.inputs") == "1");
}

TEST_CASE("A collector that refuses, or is not there, costs spans that are counted, and no call") {
  Collector collector;
  collector.Refuse();
  const std::string nobody = "http://127.0.0.1:1";
  for (const std::string& url : {collector.url(), nobody}) {
    InProcessServer server(WithCollector(url));
    for (int i = 0; i < 10; ++i) REQUIRE(Embed(server, TraceParent("01")).ok());
    server.server().Drain();
    CHECK(server.Metric("embedd_spans_total{outcome=\"dropped\"}") == 10);
    CHECK(server.Metric("embedd_spans_total{outcome=\"sent\"}") == 0);
  }
}

}  // namespace
}  // namespace embedd
