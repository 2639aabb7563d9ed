// SPDX-License-Identifier: Apache-2.0
//
// What a client of the Open Inference Protocol v2 gets, on the gRPC port.

#include <cstring>
#include <thread>

#include "inference/grpc_service.grpc.pb.h"
#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;

std::unique_ptr<inference::GRPCInferenceService::Stub> StubOf(InProcessServer& server) {
  return inference::GRPCInferenceService::NewStub(server.channel());
}

// A request with one tensor, its bytes raw.
ModelInferRequest Infer(const std::string& name, const std::string& type, std::vector<int64_t> shape,
                        const std::string& raw) {
  ModelInferRequest request;
  request.set_model_name("fake");
  auto* const tensor = request.add_inputs();
  tensor->set_name(name);
  tensor->set_datatype(type);
  for (const int64_t size : shape) tensor->add_shape(size);
  request.add_raw_input_contents(raw);
  return request;
}

// Elements of a BYTES tensor as they travel raw.
std::string Bytes(const std::vector<std::string>& elements) {
  std::string raw;
  for (const std::string& element : elements) {
    for (int shift = 0; shift < 32; shift += 8) raw += static_cast<char>(element.size() >> shift);
    raw += element;
  }
  return raw;
}

std::string Picture(int value) { return std::string("px") + static_cast<char>(value); }

struct Outcome {
  grpc::Status status;
  ModelInferResponse response;
};
Outcome Call(InProcessServer& server, const ModelInferRequest& request,
             grpc::ClientContext* context = nullptr) {
  grpc::ClientContext own;
  Outcome outcome;
  outcome.status =
      StubOf(server)->ModelInfer(context == nullptr ? &own : context, request, &outcome.response);
  return outcome;
}

void CheckRows(const ModelInferResponse& response, const std::vector<int>& values) {
  REQUIRE(response.outputs_size() == 1);
  CHECK((response.outputs(0).name() == "embedding" && response.outputs(0).datatype() == "FP32"));
  REQUIRE(response.outputs(0).shape_size() == 2);
  CHECK(response.outputs(0).shape(0) == static_cast<int64_t>(values.size()));
  CHECK(response.outputs(0).shape(1) == InProcessServer::kDimension);
  REQUIRE(response.raw_output_contents_size() == 1);
  std::vector<float> rows(values.size() * InProcessServer::kDimension);
  REQUIRE(response.raw_output_contents(0).size() == rows.size() * sizeof(float));
  std::memcpy(rows.data(), response.raw_output_contents(0).data(), rows.size() * sizeof(float));
  for (size_t i = 0; i < values.size(); ++i) {
    const std::vector<float> expected = UnitRow(static_cast<uint8_t>(values[i]));
    for (size_t k = 0; k < expected.size(); ++k) {
      CHECK(rows[i * expected.size() + k] == Approx(expected[k]).margin(1e-6));
    }
  }
}

TEST_CASE("Files and pixels become rows of `embedding`, raw or in contents; the id comes back") {
  InProcessServer server;
  ModelInferRequest request = Infer("image", "BYTES", {3}, Bytes({Picture(1), Picture(2), Picture(3)}));
  request.set_id("call 7");
  request.add_outputs()->set_name("embedding");
  Outcome outcome = Call(server, request);
  REQUIRE(outcome.status.ok());
  CHECK((outcome.response.id() == "call 7" && outcome.response.model_name() == "fake" &&
         outcome.response.model_version() == "1"));
  CHECK(outcome.response.parameters().at("fingerprint").string_param() == "f00d");
  CheckRows(outcome.response, {1, 2, 3});

  const std::string pixels = std::string(12, '\x05') + std::string(12, '\x06');
  outcome = Call(server, Infer("image", "UINT8", {2, 2, 2, 3}, pixels));
  REQUIRE(outcome.status.ok());
  CheckRows(outcome.response, {5, 6});

  request = Infer("image", "BYTES", {1, 1}, "");
  request.clear_raw_input_contents();
  request.mutable_inputs(0)->mutable_contents()->add_bytes_contents(Picture(9));
  outcome = Call(server, request);
  REQUIRE(outcome.status.ok());
  CheckRows(outcome.response, {9});

  request = Infer("image", "UINT8", {1, 2, 2, 3}, "");
  request.clear_raw_input_contents();
  for (int i = 0; i < 12; ++i) request.mutable_inputs(0)->mutable_contents()->add_uint_contents(8);
  outcome = Call(server, request);
  REQUIRE(outcome.status.ok());
  CheckRows(outcome.response, {8});
  CHECK(server.Metric("embedd_images_total{outcome=\"ok\"}") == 7);
  CHECK(server.Metric("embedd_requests_total{code=\"OK\",method=\"ModelInfer\"}") == 4);
}

TEST_CASE("The parameters normalize and expect_fingerprint do what the fields of EmbedBatch do") {
  InProcessServer server;
  ModelInferRequest request = Infer("image", "BYTES", {1}, Bytes({Picture(7)}));
  (*request.mutable_parameters())["normalize"].set_bool_param(false);
  (*request.mutable_parameters())["priority"].set_uint64_param(2);
  (*request.mutable_parameters())["binary_data_output"].set_bool_param(true);  // of the protocol over HTTP
  const Outcome outcome = Call(server, request);
  REQUIRE(outcome.status.ok());
  float first = 0;
  std::memcpy(&first, outcome.response.raw_output_contents(0).data(), sizeof(first));
  CHECK(first == Approx(FakeExecutor::FakeRow(7, 4)[0]));

  (*request.mutable_parameters())["expect_fingerprint"].set_string_param("beef");
  const Outcome refused = Call(server, request);
  CHECK(refused.status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(Reason(refused.status) == "MODEL_MISMATCH");
}

TEST_CASE("An input that is bad fails the call, and the message lists which and why") {
  InProcessServer server;
  const Outcome outcome =
      Call(server, Infer("image", "BYTES", {4}, Bytes({Picture(1), "garbage", Picture(2), "junk"})));
  CHECK(outcome.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(Reason(outcome.status) == "CORRUPT_IMAGE");
  CHECK_THAT(outcome.status.error_message(),
             ContainsSubstring("inputs[1]: CORRUPT_IMAGE: not a fake picture; inputs[3]: CORRUPT_IMAGE"));
  CHECK(outcome.response.outputs_size() == 0);
  CHECK(server.Metric("embedd_images_total{outcome=\"ok\"}") == 2);
  CHECK(server.Metric("embedd_images_total{outcome=\"rejected\"}") == 2);
  CHECK(server.Metric("embedd_requests_total{code=\"INVALID_ARGUMENT\",method=\"ModelInfer\"}") == 1);
  // However many there are, the message lists them all and fits into what clients take of trailers.
  std::vector<std::string> many(1024, "garbage");
  many[1000] = Picture(1);
  const Outcome all = Call(server, Infer("image", "BYTES", {1024}, Bytes(many)));
  CHECK(all.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK_THAT(all.status.error_message(), ContainsSubstring("inputs[15]: CORRUPT_IMAGE") &&
                                             ContainsSubstring("; and 1007 more: inputs[16-999,1001-1023]"));
  for (size_t i = 0; i < many.size(); i += 2) many[i] = Picture(1);
  const Outcome half = Call(server, Infer("image", "BYTES", {1024}, Bytes(many)));
  CHECK(half.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK_THAT(half.status.error_message(), ContainsSubstring("; and 496 more: inputs[33,35,37,"));

  const Outcome text = Call(server, Infer("text", "BYTES", {1}, Bytes({"a dog"})));
  CHECK(text.status.error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(Reason(text.status) == "TEXT_NOT_SUPPORTED");
}

TEST_CASE("Tensors that cannot be read are refused, and the field is named") {
  InProcessServer server;
  const std::string one = Bytes({Picture(1)});
  struct Case {
    ModelInferRequest request;
    std::string says;
  };
  std::vector<Case> cases = {
      {Infer("picture", "BYTES", {1}, one), "inputs[0].name: is \"picture\"; must be image or text"},
      {Infer("image", "FP32", {1}, one), "inputs[0].datatype"},
      {Infer("text", "UINT8", {1, 1, 1, 3}, "abc"), "inputs[0].datatype"},
      {Infer("image", "BYTES", {2}, one), "ends after 1 of 2 elements"},
      {Infer("image", "BYTES", {1}, one + "x"), "holds 1 bytes more than its 1 elements"},
      {Infer("image", "BYTES", {1}, std::string("\xff\xff\xff\xff", 4)), "is said to have 4294967295 bytes"},
      {Infer("image", "BYTES", {1}, "abc"), "ends after 0 of 1"},
      {Infer("image", "BYTES", {1, 2}, one), "inputs[0].shape: is [1, 2]; BYTES are [n]"},
      {Infer("image", "BYTES", {0}, ""), "send at least one"},
      {Infer("image", "BYTES", {-1}, ""), "send at least one"},
      {Infer("image", "BYTES", {int64_t{1} << 40}, one), "the limit is 1024 a request (--max-inputs)"},
      {Infer("image", "BYTES", {1}, Bytes({""})), "inputs[0].image: is empty"},
      {Infer("image", "UINT8", {1, 2, 2, 4}, std::string(16, 'x')), "UINT8 is [n, height, width, 3]"},
      {Infer("image", "UINT8", {1, 2, 2, 3}, std::string(11, 'x')), "has 11 bytes; the shape"},
      {Infer("image", "UINT8", {1, int64_t{1} << 62, 4, 3}, ""), "UINT8 is [n, height, width, 3]"},
      {Infer("image", "UINT8", {1, 1 << 24, 1 << 24, 3}, ""), "has 0 bytes; the shape"},
      {Infer("text", "BYTES", {1}, Bytes({"\xff"})), "inputs[0]: the text is no UTF-8"},
      {Infer("text", "BYTES", {1}, Bytes({"\xed\xa0\x80"})), "inputs[0]: the text is no UTF-8"},
  };
  cases.push_back({Infer("image", "BYTES", {1}, one), "has 2 tensors; send one"});
  *cases.back().request.add_inputs() = cases.back().request.inputs(0);
  cases.push_back({Infer("image", "BYTES", {1}, one), "raw_input_contents: must hold one element"});
  cases.back().request.add_raw_input_contents("more");
  cases.push_back({Infer("image", "BYTES", {1}, one), "outputs[0].name: is \"logits\""});
  cases.back().request.add_outputs()->set_name("logits");
  cases.push_back({Infer("image", "BYTES", {1}, one), "\"shared_memory_region\" is not known"});
  (*cases.back().request.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param(
      "x");
  cases.push_back({Infer("image", "BYTES", {1}, one), "parameters.priority: must be interactive"});
  (*cases.back().request.mutable_parameters())["priority"].set_int64_param(9);
  for (const Case& each : cases) {
    const Outcome outcome = Call(server, each.request);
    CHECK(outcome.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK_THAT(outcome.status.error_message(), ContainsSubstring(each.says));
  }
  ModelInferRequest other = Infer("image", "BYTES", {1}, one);
  other.set_model_name("resnet50");
  CHECK(Call(server, other).status.error_code() == grpc::StatusCode::NOT_FOUND);
  other.set_model_name("fake");
  other.set_model_version("2");
  CHECK(Call(server, other).status.error_code() == grpc::StatusCode::NOT_FOUND);
  // Each was counted, and nothing of them holds a place.
  CHECK(server.Metric("embedd_images_total{outcome=\"rejected\"}") == static_cast<double>(cases.size() + 2));
  CHECK(server.Metric("embedd_queue_images") == 0);
}

TEST_CASE("Whatever a request is called, its error can be read") {
  InProcessServer server;
  const std::string one = Bytes({Picture(1)});
  std::string cut;  // 64 and 128 bytes end within a character
  for (int i = 0; i < 100; ++i) cut += i == 0 ? "a" : "\xc3\xa9";
  const std::string huge(100000, 'x');
  std::vector<ModelInferRequest> requests;
  for (const std::string& name : {cut, huge}) {
    const ModelInferRequest good = Infer("image", "BYTES", {1}, one);
    requests.insert(requests.end(), 6, good);
    ModelInferRequest* const last = &requests[requests.size() - 6];
    last[0].set_model_name(name);
    last[1].mutable_inputs(0)->set_name(name);
    last[2].mutable_inputs(0)->set_datatype(name);
    (*last[3].mutable_inputs(0)->mutable_parameters())[name].set_bool_param(true);
    last[4].add_outputs()->set_name(name);
    (*last[5].mutable_parameters())["expect_fingerprint"].set_string_param(name);
    ModelInferRequest output = good;
    output.add_outputs()->set_name("embedding");
    (*output.mutable_outputs(0)->mutable_parameters())[name].set_bool_param(true);
    requests.push_back(output);
  }
  requests.push_back(Infer("image", "UINT8", std::vector<int64_t>(100000, 3), one));
  for (const ModelInferRequest& request : requests) {
    const Outcome outcome = Call(server, request);
    CHECK(outcome.status.error_message().size() > 10);
    CHECK((outcome.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT ||
           outcome.status.error_code() == grpc::StatusCode::NOT_FOUND ||
           outcome.status.error_code() == grpc::StatusCode::FAILED_PRECONDITION));
    CHECK(Reason(outcome.status) != "");  // the details are a message, which takes nothing but UTF-8
  }
  ModelInferRequest empty = Infer("image", "BYTES", {1}, one);
  empty.mutable_inputs(0)->mutable_contents();  // there, with nothing in it
  CHECK(Call(server, empty).status.ok());
}

TEST_CASE("A full queue and a deadline that cannot be met refuse as in EmbedBatch") {
  InProcessServer server(Config{.queue_images = 2});
  const ModelInferRequest two = Infer("image", "BYTES", {2}, Bytes({Picture(1), Picture(2)}));
  server.gate().Close();
  Outcome waiting;
  std::thread caller([&] { waiting = Call(server, two); });
  while (server.Metric("embedd_queue_images") < 2) std::this_thread::yield();
  grpc::ClientContext context;
  const Outcome full = Call(server, two, &context);
  CHECK(full.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(Reason(full.status) == "QUEUE_FULL");
  CHECK(Trailer(context, "grpc-retry-pushback-ms") != "");
  server.gate().Open();
  caller.join();
  REQUIRE(waiting.status.ok());

  ModelInferRequest late = two;
  (*late.mutable_parameters())["timeout"].set_int64_param(1);  // microseconds, as tritonclient sends it
  CHECK(Call(server, late).status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK(server.Metric("embedd_images_total{outcome=\"expired\"}") == 2);
  CHECK(server.Metric("embedd_images_total{outcome=\"refused\"}") == 2);
}

TEST_CASE("A caller that goes away takes its images out of the queue") {
  InProcessServer server(Config{.max_batch = 1});
  server.gate().Close();
  v1::EmbedBatchRequest first;
  *first.add_inputs() = RawInput(1);
  std::thread ahead([&] {
    v1::EmbedBatchResponse response;
    grpc::ClientContext context;
    CHECK(server.stub().EmbedBatch(&context, first, &response).ok());
  });
  server.gate().WaitForArrivals(1);
  grpc::ClientContext context;
  std::thread gone([&] {
    const Outcome outcome =
        Call(server, Infer("image", "BYTES", {2}, Bytes({Picture(1), Picture(2)})), &context);
    CHECK(outcome.status.error_code() == grpc::StatusCode::CANCELLED);
  });
  while (server.Metric("embedd_queue_images") < 3) std::this_thread::yield();
  context.TryCancel();
  gone.join();
  while (server.Metric("embedd_queue_images") > 1) std::this_thread::yield();
  server.gate().Open();
  ahead.join();
  CHECK(server.Metric("embedd_images_total{outcome=\"cancelled\"}") == 2);
  CHECK(server.batches() == std::vector<int>{1});
}

TEST_CASE("Live, ready and metadata: also while the model loads") {
  InProcessServer server({}, /*serve=*/false);
  const auto stub = StubOf(server);
  const auto live = [&] {
    grpc::ClientContext context;
    inference::ServerLiveResponse response;
    return stub->ServerLive(&context, {}, &response).ok() && response.live();
  };
  const auto ready = [&](const std::string& name) {
    grpc::ClientContext context, other;
    inference::ServerReadyResponse server_ready;
    REQUIRE(stub->ServerReady(&context, {}, &server_ready).ok());
    inference::ModelReadyRequest request;
    request.set_name(name);
    inference::ModelReadyResponse response;
    REQUIRE(stub->ModelReady(&other, request, &response).ok());
    return std::pair(server_ready.ready(), response.ready());
  };
  const auto metadata = [&](inference::ModelMetadataResponse* response) {
    grpc::ClientContext context;
    inference::ModelMetadataRequest request;
    request.set_name("fake");
    return stub->ModelMetadata(&context, request, response);
  };
  inference::ModelMetadataResponse response;
  CHECK(live());
  CHECK(ready("fake") == std::pair(false, false));
  CHECK(metadata(&response).error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Reason(Call(server, Infer("image", "BYTES", {1}, Bytes({Picture(1)}))).status) == "MODEL_LOADING");
  server.Serve();
  CHECK(ready("fake") == std::pair(true, true));
  CHECK(ready("other") == std::pair(true, false));
  REQUIRE(metadata(&response).ok());
  REQUIRE((response.inputs_size() == 1 && response.outputs_size() == 1));  // the fake has no text tower
  CHECK((response.inputs(0).name() == "image" && response.inputs(0).datatype() == "BYTES" &&
         response.inputs(0).shape(0) == -1));
  CHECK((response.outputs(0).name() == "embedding" && response.outputs(0).datatype() == "FP32" &&
         response.outputs(0).shape(1) == InProcessServer::kDimension));
  grpc::ClientContext context;
  inference::ServerMetadataResponse about;
  REQUIRE(stub->ServerMetadata(&context, {}, &about).ok());
  CHECK(about.name() == "embedd");
}

TEST_CASE("Without the token nothing of the protocol is answered") {
  const TempFolder folder;
  folder.Write("tokens", "secret\n");
  InProcessServer server(Config{.token_file = folder.path() + "/tokens"});
  const ModelInferRequest request = Infer("image", "BYTES", {1}, Bytes({Picture(1)}));
  CHECK(Call(server, request).status.error_code() == grpc::StatusCode::UNAUTHENTICATED);
  grpc::ClientContext context, other;
  inference::ModelMetadataResponse metadata;
  inference::ModelMetadataRequest asked;
  asked.set_name("fake");
  CHECK(StubOf(server)->ModelMetadata(&context, asked, &metadata).error_code() ==
        grpc::StatusCode::UNAUTHENTICATED);
  CHECK(metadata.inputs_size() == 0);
  other.AddMetadata("authorization", "Bearer secret");
  CHECK(Call(server, request, &other).status.ok());
}

}  // namespace
}  // namespace embedd
